// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenAssets} from "../src/OpenAssets.sol";
import {Base} from "./Base.sol";

contract OpenAssetsTest is Base {
    uint256 private constant ID = uint256(keccak256("model:1"));
    bytes32 private constant DIGEST = keccak256("what it is called");

    OpenAssets private assets;

    function setUp() public {
        vm.warp(1_800_000_000);
        assets = new OpenAssets(ADMIN, 1 days, "https://example.org/assets/");
        bytes32 role = assets.REGISTRAR_ROLE();
        vm.prank(ADMIN);
        assets.grantRole(role, OPERATOR);
    }

    function _register(uint96 royaltyBps) private {
        vm.prank(OPERATOR);
        assets.register(PAYEE, ID, DIGEST, royaltyBps);
    }

    function test_a_registered_thing_belongs_to_who_asked_for_it() public {
        vm.expectEmit();
        emit OpenAssets.Registered(ID, PAYEE, DIGEST, 500);
        _register(500);
        vm.assertEq(assets.ownerOf(ID), PAYEE);
        vm.assertEq(assets.metadataDigestOf(ID), DIGEST);
    }

    function test_it_is_an_erc721_with_royalties() public view {
        vm.assertTrue(assets.supportsInterface(0x80ac58cd)); // ERC-721
        vm.assertTrue(assets.supportsInterface(0x2a55205a)); // ERC-2981
        vm.assertTrue(assets.supportsInterface(0x7965db0b)); // access control
        vm.assertFalse(assets.supportsInterface(0xffffffff));
    }

    function test_the_royalty_goes_to_the_maker_whoever_holds_it(uint128 price, uint96 royaltyBps) public {
        vm.assume(royaltyBps <= 1_000);
        _register(royaltyBps);
        vm.prank(PAYEE);
        assets.transferFrom(PAYEE, STRANGER, ID);
        (address receiver, uint256 amount) = assets.royaltyInfo(ID, price);
        vm.assertEq(receiver, PAYEE);
        vm.assertEq(amount, (uint256(price) * royaltyBps) / 10_000);
        vm.assertEq(assets.ownerOf(ID), STRANGER);
    }

    function test_the_metadata_stands_under_the_decimal_id() public {
        vm.prank(OPERATOR);
        assets.register(PAYEE, 42, DIGEST, 0);
        vm.assertEq(assets.tokenURI(42), "https://example.org/assets/42");
    }

    function test_a_thing_gets_one_token_only() public {
        _register(0);
        vm.prank(PAYEE);
        assets.transferFrom(PAYEE, STRANGER, ID);
        vm.expectRevert(abi.encodeWithSelector(OpenAssets.AlreadyProcessed.selector, ID));
        _register(0);
    }

    function test_a_digest_and_a_modest_royalty_are_needed(uint96 royaltyBps) public {
        vm.assume(royaltyBps > 1_000);
        vm.expectRevert(abi.encodeWithSelector(OpenAssets.RoyaltyTooHigh.selector, royaltyBps));
        _register(royaltyBps);
        vm.prank(OPERATOR);
        vm.expectRevert(OpenAssets.EmptyDigest.selector);
        assets.register(PAYEE, ID, 0, 0);
    }

    function test_nobody_else_makes_or_takes_one() public {
        vm.prank(PAYEE);
        vm.expectRevert();
        assets.register(PAYEE, ID, DIGEST, 0);
        _register(0);
        vm.prank(OPERATOR);
        vm.expectRevert();
        assets.transferFrom(PAYEE, OPERATOR, ID);
    }

    function test_gas_of_an_asset() public {
        _register(500);
        vm.snapshotGasLastCall("OpenAssets", "register");
        vm.prank(PAYEE);
        assets.transferFrom(PAYEE, STRANGER, ID);
        vm.snapshotGasLastCall("OpenAssets", "transfer");
    }
}

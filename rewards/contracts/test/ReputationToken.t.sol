// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC5192, ReputationToken} from "../src/ReputationToken.sol";
import {Base} from "./Base.sol";

contract ReputationTokenTest is Base {
    uint64 private constant NOW = 1_800_000_000;

    ReputationToken private reputation;
    uint256 private tokenId;

    function setUp() public {
        vm.warp(NOW);
        reputation = new ReputationToken(ADMIN, 1 days);
        tokenId = reputation.tokenOf(PAYEE);
        bytes32 role = reputation.ISSUER_ROLE();
        vm.prank(ADMIN);
        reputation.grantRole(role, OPERATOR);
    }

    function _write(uint16 score, uint64 measuredAt) private {
        vm.prank(OPERATOR);
        reputation.write(PAYEE, score, 1, measuredAt);
    }

    function test_a_written_reputation_is_a_locked_token_of_its_holder() public {
        vm.expectEmit();
        emit ReputationToken.ReputationWritten(PAYEE, 512, 1, NOW);
        vm.expectEmit();
        emit IERC5192.Locked(tokenId);
        _write(512, NOW);
        vm.assertEq(reputation.ownerOf(tokenId), PAYEE);
        vm.assertTrue(reputation.locked(tokenId));
        ReputationToken.Measure memory measure = reputation.reputationOf(PAYEE);
        vm.assertEq(measure.score, 512);
        vm.assertEq(measure.formula, 1);
        vm.assertEq(measure.measuredAt, NOW);
    }

    function test_it_says_what_it_is() public view {
        vm.assertTrue(reputation.supportsInterface(0xb45a3c0e)); // ERC-5192
        vm.assertTrue(reputation.supportsInterface(0x80ac58cd)); // ERC-721
        vm.assertTrue(reputation.supportsInterface(0x7965db0b)); // access control
        vm.assertFalse(reputation.supportsInterface(0xffffffff));
    }

    function test_the_number_is_in_the_token_itself() public {
        _write(7, NOW);
        vm.assertEq(
            reputation.tokenURI(tokenId),
            string.concat(
                "data:application/json;base64,",
                "eyJuYW1lIjoiT3BlbkxlZGdlciByZXB1dGF0aW9uIDciLCJhdHRyaWJ1dGVzIjpbeyJ0cmFpdF90eXBlIjoic2NvcmUiLCJtYXhf",
                "dmFsdWUiOjk5OSwidmFsdWUiOjd9LHsidHJhaXRfdHlwZSI6ImZvcm11bGEiLCJ2YWx1ZSI6MX0seyJkaXNwbGF5X3R5cGUiOiJk",
                "YXRlIiwidHJhaXRfdHlwZSI6Im1lYXN1cmVkIiwidmFsdWUiOjE4MDAwMDAwMDB9XX0="
            )
        );
    }

    function test_nobody_can_move_it_not_even_by_approval(address to) public {
        vm.assume(to != address(0));
        _write(512, NOW);
        vm.prank(PAYEE);
        reputation.approve(STRANGER, tokenId);
        vm.prank(STRANGER);
        vm.expectRevert(ReputationToken.Soulbound.selector);
        reputation.transferFrom(PAYEE, to, tokenId);
        vm.prank(PAYEE);
        vm.expectRevert(ReputationToken.Soulbound.selector);
        reputation.transferFrom(PAYEE, to, tokenId);
    }

    function test_a_later_measure_replaces_an_earlier_one_and_never_the_other_way(uint64 earlier) public {
        vm.assume(earlier < NOW);
        _write(512, NOW);
        vm.expectRevert(abi.encodeWithSelector(ReputationToken.AlreadyProcessed.selector, PAYEE, earlier));
        _write(999, earlier);
        vm.warp(NOW + 1);
        _write(40, NOW + 1);
        vm.assertEq(reputation.reputationOf(PAYEE).score, 40);
        vm.assertEq(reputation.balanceOf(PAYEE), 1);
    }

    function test_only_measures_are_written(uint16 score) public {
        vm.assume(score == 0 || score > 999);
        vm.expectRevert(abi.encodeWithSelector(ReputationToken.NotAMeasure.selector, score, NOW));
        _write(score, NOW);
        vm.expectRevert(abi.encodeWithSelector(ReputationToken.NotAMeasure.selector, uint16(5), NOW + 1 hours + 1));
        _write(5, NOW + 1 hours + 1);
        _write(5, NOW + 1 hours);
    }

    function test_only_the_issuer_writes() public {
        vm.prank(PAYEE);
        vm.expectRevert();
        reputation.write(PAYEE, 999, 1, NOW);
    }

    function test_the_holder_and_the_issuer_may_burn_and_nobody_else() public {
        _write(512, NOW);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(ReputationToken.NotTheHolder.selector, STRANGER));
        reputation.burn(PAYEE);
        vm.prank(PAYEE);
        reputation.burn(PAYEE);
        vm.assertEq(reputation.reputationOf(PAYEE).score, 0);
        vm.expectRevert();
        reputation.locked(tokenId);
        vm.warp(NOW + 1);
        _write(3, NOW + 1);
        vm.prank(OPERATOR);
        reputation.burn(PAYEE);
        vm.assertEq(reputation.balanceOf(PAYEE), 0);
    }

    function test_a_burnt_measure_does_not_come_back() public {
        _write(512, NOW);
        vm.prank(PAYEE);
        reputation.burn(PAYEE);
        vm.expectRevert(abi.encodeWithSelector(ReputationToken.AlreadyProcessed.selector, PAYEE, NOW));
        _write(512, NOW);
    }

    function test_gas_of_writing() public {
        _write(512, NOW);
        vm.snapshotGasLastCall("ReputationToken", "write, first");
        vm.warp(NOW + 1);
        _write(513, NOW + 1);
        vm.snapshotGasLastCall("ReputationToken", "write, again");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {GrantWallet, OpenVesting} from "../src/OpenVesting.sol";
import {Base} from "./Base.sol";

contract OpenVestingTest is Base {
    bytes32 private constant ID = keccak256("grant:1");
    bytes32 private constant GRANTER_ROLE = keccak256("GRANTER_ROLE");
    uint64 private constant YEAR = 365 days;
    uint64 private constant START = 1_800_000_000;

    OpenVesting private vesting;

    function setUp() public {
        _setUpToken();
        vesting = new OpenVesting(ADMIN, 1 days, token);
        vm.prank(ADMIN);
        vesting.grantRole(GRANTER_ROLE, holder);
        vm.prank(holder);
        token.approve(address(vesting), type(uint256).max);
    }

    /// @dev A year's cliff, then three more years.
    function _grant(uint256 amount) private returns (GrantWallet) {
        vm.prank(holder);
        return GrantWallet(payable(vesting.grant(ID, PAYEE, amount, START, YEAR, 4 * YEAR)));
    }

    function test_a_grant_moves_all_of_it_into_a_wallet_of_its_own() public {
        GrantWallet wallet = _grant(400 * OPEN);
        vm.assertEq(vesting.walletOf(ID), address(wallet));
        vm.assertEq(token.balanceOf(address(wallet)), 400 * OPEN);
        vm.assertEq(token.balanceOf(address(vesting)), 0);
        vm.assertEq(wallet.owner(), PAYEE);
        vm.assertEq(wallet.cliff(), START + YEAR);
        vm.assertEq(wallet.end(), START + 4 * YEAR);
    }

    function test_a_grant_is_told_by_an_event() public {
        address expected = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(vesting), hex"01")))));
        vm.expectEmit();
        emit OpenVesting.Granted(ID, PAYEE, expected, OPEN, START, YEAR, 4 * YEAR);
        _grant(OPEN);
    }

    function test_nothing_unlocks_before_the_cliff_and_the_part_of_the_time_after_it() public {
        GrantWallet wallet = _grant(400 * OPEN);
        vm.warp(START + YEAR - 1);
        vm.assertEq(wallet.releasable(address(token)), 0);
        vm.warp(START + YEAR);
        vm.assertEq(wallet.releasable(address(token)), 100 * OPEN);
        wallet.release(address(token));
        vm.warp(START + 2 * YEAR);
        vm.assertEq(wallet.releasable(address(token)), 100 * OPEN);
        vm.warp(START + 4 * YEAR);
        wallet.release(address(token));
        vm.assertEq(token.balanceOf(PAYEE), 400 * OPEN);
    }

    function test_anyone_releases_and_the_beneficiary_is_paid() public {
        GrantWallet wallet = _grant(400 * OPEN);
        vm.warp(START + YEAR);
        vm.prank(STRANGER);
        wallet.release(address(token));
        vm.assertEq(token.balanceOf(PAYEE), 100 * OPEN);
        vm.assertEq(token.balanceOf(STRANGER), 0);
    }

    function test_what_is_unlocked_follows_a_new_owner() public {
        GrantWallet wallet = _grant(400 * OPEN);
        vm.prank(PAYEE);
        wallet.transferOwnership(STRANGER);
        vm.warp(START + YEAR);
        wallet.release(address(token));
        vm.assertEq(token.balanceOf(STRANGER), 100 * OPEN);
    }

    function test_an_id_works_once() public {
        _grant(OPEN);
        vm.expectRevert(abi.encodeWithSelector(OpenVesting.AlreadyProcessed.selector, ID));
        _grant(OPEN);
    }

    function test_only_granters_grant_and_only_what_is_theirs() public {
        vm.prank(STRANGER);
        vm.expectRevert();
        vesting.grant(ID, PAYEE, OPEN, START, 0, YEAR);
        vm.expectRevert();
        _grant(1_001 * OPEN);
        vm.assertEq(vesting.walletOf(ID), address(0));
    }

    function test_a_grant_needs_an_amount_and_a_time_within_reach(uint64 duration, uint64 start) public {
        uint64 most = vesting.SPAN_MAX();
        vm.startPrank(holder);
        vm.expectRevert(OpenVesting.NothingToGrant.selector);
        vesting.grant(ID, PAYEE, 0, START, 0, YEAR);
        if (duration == 0 || duration > most) {
            vm.expectRevert(abi.encodeWithSelector(OpenVesting.DurationOutOfRange.selector, duration));
            vesting.grant(ID, PAYEE, OPEN, START, 0, duration);
        }
        if (start > START + most || start < START - most) {
            vm.expectRevert(abi.encodeWithSelector(OpenVesting.StartOutOfRange.selector, start));
            vesting.grant(ID, PAYEE, OPEN, start, 0, YEAR);
        }
        vm.expectRevert();
        vesting.grant(ID, PAYEE, OPEN, START, YEAR + 1, YEAR);
        vm.expectRevert();
        vesting.grant(ID, address(0), OPEN, START, 0, YEAR);
        vm.stopPrank();
    }

    /// @dev The Python mirror (`rewards/vesting.py`) has the same four lines.
    function test_the_schedule_is_the_formula_to_the_wei(uint96 amount, uint32 cliff, uint32 duration, uint64 at) public {
        duration = uint32(_bound(duration, 1, 20 * YEAR));
        cliff = uint32(_bound(cliff, 0, duration));
        amount = uint96(_bound(amount, 1, 1_000 * OPEN));
        at = uint64(_bound(at, START - YEAR, START + 21 * YEAR));
        vm.prank(holder);
        GrantWallet wallet = GrantWallet(payable(vesting.grant(ID, PAYEE, amount, START, cliff, duration)));
        uint256 expected = (uint256(amount) * (at < START ? 0 : at - START)) / duration;
        if (at < START + cliff) expected = 0;
        if (at >= START + duration) expected = amount;
        vm.assertEq(wallet.vestedAmount(address(token), at), expected);
    }

    function test_more_time_never_unlocks_less(uint96 amount, uint64 first, uint64 second) public {
        amount = uint96(_bound(amount, 1, 1_000 * OPEN));
        first = uint64(_bound(first, START - YEAR, START + 5 * YEAR));
        second = uint64(_bound(second, first, START + 5 * YEAR));
        GrantWallet wallet = _grant(amount);
        uint256 before = wallet.vestedAmount(address(token), first);
        vm.assertLe(before, wallet.vestedAmount(address(token), second));
        vm.assertLe(wallet.vestedAmount(address(token), second), amount);
    }

    function test_gas_of_a_grant() public {
        GrantWallet wallet = _grant(400 * OPEN);
        vm.snapshotGasLastCall("OpenVesting", "grant");
        vm.warp(START + YEAR);
        wallet.release(address(token));
        vm.snapshotGasLastCall("OpenVesting", "release, first");
        vm.warp(START + 2 * YEAR);
        wallet.release(address(token));
        vm.snapshotGasLastCall("OpenVesting", "release, again");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ISlashingCap, OpenStaking} from "../src/OpenStaking.sol";
import {Base} from "./Base.sol";
import {ReentrantToken} from "./Hostile.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

/// @dev Stands for the governed numbers.
contract Cap is ISlashingCap {
    uint16 public slashingCapBps = 1_000;

    function set(uint16 bps) external {
        slashingCapBps = bps;
    }
}

contract OpenStakingTest is Base {
    address private constant TREASURY = address(0x7E);
    address private constant SLASHER = address(0x51);
    address private constant ARBITER = address(0xA2);
    bytes32 private constant TARGET = keccak256("datanet:1");
    bytes32 private constant OTHER = keccak256("agent:1");
    bytes32 private constant EVIDENCE = keccak256("dispute 1");
    uint64 private constant UNBONDING = 14 days;
    uint64 private constant APPEAL = 7 days;

    Cap private cap;
    OpenStaking private staking;

    function setUp() public {
        _setUpToken();
        cap = new Cap();
        staking = new OpenStaking(ADMIN, 1 days, token, cap, TREASURY, UNBONDING, APPEAL);
        vm.startPrank(ADMIN);
        staking.grantRole(staking.SLASHER_ROLE(), SLASHER);
        staking.grantRole(staking.ARBITER_ROLE(), ARBITER);
        vm.stopPrank();
        _fund(PAYEE, 300 * OPEN);
        vm.prank(holder);
        token.approve(address(staking), type(uint256).max);
    }

    function _fund(address account, uint256 amount) private {
        vm.prank(OPERATOR);
        token.mint(account, amount);
        vm.prank(account);
        token.approve(address(staking), type(uint256).max);
    }

    function _stake(address account, uint256 amount) private {
        vm.prank(account);
        staking.stake(TARGET, amount);
    }

    function _leave(address account, uint256 shares) private returns (uint256) {
        vm.prank(account);
        return staking.startUnbonding(TARGET, shares);
    }

    function _withdraw(address account, uint256 id) private {
        vm.prank(account);
        staking.withdraw(id);
    }

    function _announce(uint256 amount) private {
        vm.prank(SLASHER);
        staking.announceSlash(TARGET, amount, EVIDENCE);
    }

    function _slash(uint256 amount) private {
        _announce(amount);
        vm.warp(block.timestamp + APPEAL);
        staking.executeSlash(TARGET);
    }

    function test_a_stake_comes_back_whole_after_the_delay_and_not_before() public {
        _stake(holder, 100 * OPEN);
        uint256 id = _leave(holder, 100 * OPEN);
        vm.warp(block.timestamp + UNBONDING - 1);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.UnbondingRuns.selector, block.timestamp + 1));
        _withdraw(holder, id);
        vm.warp(block.timestamp + 1);
        _withdraw(holder, id);
        vm.assertEq(token.balanceOf(holder), 1_000 * OPEN);
        vm.assertEq(staking.liabilities(), 0);
    }

    function test_an_unbonding_pays_its_owner_once() public {
        _stake(holder, 100 * OPEN);
        uint256 id = _leave(holder, 100 * OPEN);
        vm.warp(block.timestamp + UNBONDING);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.UnbondingUnknown.selector, id));
        _withdraw(STRANGER, id);
        _withdraw(holder, id);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.UnbondingUnknown.selector, id));
        _withdraw(holder, id);
    }

    function test_adding_to_a_stake_delays_nothing_that_is_leaving() public {
        _stake(holder, 100 * OPEN);
        uint256 id = _leave(holder, 40 * OPEN);
        vm.warp(block.timestamp + UNBONDING - 1);
        _stake(holder, 500 * OPEN);
        vm.warp(block.timestamp + 1);
        _withdraw(holder, id);
        vm.assertEq(token.balanceOf(holder), 440 * OPEN);
        vm.assertEq(staking.bondedOf(TARGET, holder), 560 * OPEN);
    }

    function test_too_little_stake_and_too_many_shares_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.StakeTooSmall.selector, OPEN - 1));
        _stake(holder, OPEN - 1);
        _stake(holder, OPEN);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.NotEnoughStake.selector, OPEN));
        _leave(holder, OPEN + 1);
        vm.expectRevert(OpenStaking.NothingToMove.selector);
        _leave(holder, 0);
    }

    function test_income_is_shared_by_those_who_were_in_when_it_came() public {
        _stake(holder, 100 * OPEN);
        _fund(STRANGER, 100 * OPEN);
        vm.prank(STRANGER);
        staking.addIncome(TARGET, 10 * OPEN);
        _stake(PAYEE, 300 * OPEN);
        vm.prank(STRANGER);
        staking.addIncome(TARGET, 40 * OPEN);
        vm.assertEq(staking.incomeOf(TARGET, holder), 20 * OPEN);
        vm.assertEq(staking.incomeOf(TARGET, PAYEE), 30 * OPEN);
        vm.prank(PAYEE);
        staking.collectIncome(TARGET);
        vm.assertEq(token.balanceOf(PAYEE), 30 * OPEN);
        vm.prank(PAYEE);
        vm.expectRevert(OpenStaking.NothingToMove.selector);
        staking.collectIncome(TARGET);
    }

    function test_income_for_nobody_is_refused_and_unbonding_stake_earns_nothing() public {
        _fund(STRANGER, 100 * OPEN);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.NobodyStaked.selector, TARGET));
        staking.addIncome(TARGET, OPEN);
        _stake(holder, 100 * OPEN);
        _stake(PAYEE, 100 * OPEN);
        _leave(holder, 100 * OPEN);
        vm.prank(STRANGER);
        staking.addIncome(TARGET, OPEN);
        vm.assertEq(staking.incomeOf(TARGET, holder), 0);
        vm.assertEq(staking.incomeOf(TARGET, PAYEE), OPEN);
    }

    function test_open_that_is_sent_directly_belongs_to_no_share() public {
        _stake(PAYEE, OPEN);
        vm.prank(holder);
        token.transfer(address(staking), 500 * OPEN);
        vm.assertEq(staking.bondedOf(TARGET, PAYEE), OPEN);
        _stake(holder, 2 * OPEN);
        vm.assertEq(staking.bondedOf(TARGET, holder), 2 * OPEN);
    }

    function test_a_slash_takes_from_bonded_and_leaving_alike_and_pays_the_treasury() public {
        _stake(holder, 100 * OPEN);
        _stake(PAYEE, 300 * OPEN);
        uint256 id = _leave(holder, 100 * OPEN);
        _slash(40 * OPEN);
        vm.assertEq(token.balanceOf(TREASURY), 40 * OPEN);
        vm.assertEq(staking.bondedOf(TARGET, PAYEE), 270 * OPEN);
        vm.warp(block.timestamp + UNBONDING);
        _withdraw(holder, id);
        vm.assertEq(token.balanceOf(holder), 990 * OPEN);
        vm.assertTrue(staking.isSolvent());
    }

    function test_a_slash_of_one_target_leaves_the_others_alone() public {
        _stake(holder, 100 * OPEN);
        vm.prank(PAYEE);
        staking.stake(OTHER, 100 * OPEN);
        _slash(10 * OPEN);
        vm.assertEq(staking.bondedOf(OTHER, PAYEE), 100 * OPEN);
    }

    function test_a_slash_above_the_cap_or_without_evidence_is_refused() public {
        _stake(holder, 100 * OPEN);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.SlashAboveCap.selector, 10 * OPEN + 1, 10 * OPEN));
        _announce(10 * OPEN + 1);
        cap.set(2_000);
        _announce(20 * OPEN);
        vm.prank(SLASHER);
        vm.expectRevert(OpenStaking.EvidenceMissing.selector);
        staking.announceSlash(TARGET, OPEN, 0);
    }

    function test_nobody_enters_or_leaves_and_no_second_slash_begins_while_one_waits() public {
        _stake(holder, 100 * OPEN);
        uint256 id = _leave(holder, 50 * OPEN);
        vm.warp(block.timestamp + UNBONDING);
        _announce(OPEN);
        bytes memory refusal = abi.encodeWithSelector(OpenStaking.SlashWaits.selector, TARGET);
        vm.expectRevert(refusal);
        _withdraw(holder, id);
        vm.expectRevert(refusal);
        _leave(holder, OPEN);
        vm.expectRevert(refusal);
        _stake(PAYEE, OPEN);
        vm.expectRevert(refusal);
        _announce(OPEN);
    }

    function test_an_appeal_in_time_drops_the_slash_and_a_late_one_does_not() public {
        _stake(holder, 100 * OPEN);
        _announce(OPEN);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.AppealWindowOpen.selector, block.timestamp + APPEAL));
        staking.executeSlash(TARGET);
        vm.prank(ARBITER);
        staking.overturnSlash(TARGET);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.NoSlash.selector, TARGET));
        staking.executeSlash(TARGET);
        _announce(OPEN);
        vm.warp(block.timestamp + APPEAL);
        vm.prank(ARBITER);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.AppealWindowOver.selector, block.timestamp));
        staking.overturnSlash(TARGET);
        staking.executeSlash(TARGET);
        vm.assertEq(token.balanceOf(TREASURY), OPEN);
    }

    function test_only_the_roles_slash_and_overturn() public {
        _stake(holder, 100 * OPEN);
        bytes4 refusal = IAccessControl.AccessControlUnauthorizedAccount.selector;
        bytes32 slasher = staking.SLASHER_ROLE();
        bytes32 arbiter = staking.ARBITER_ROLE();
        vm.startPrank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(refusal, STRANGER, slasher));
        staking.announceSlash(TARGET, OPEN, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(refusal, STRANGER, arbiter));
        staking.overturnSlash(TARGET);
    }

    function test_a_pool_that_a_slash_emptied_can_be_entered_again() public {
        cap.set(5_000);
        _stake(holder, OPEN);
        uint256 id = _leave(holder, OPEN - 1);
        while (staking.slashCap(TARGET) != 0) _slash(staking.slashCap(TARGET));
        vm.assertLe(staking.stakeOf(TARGET), 2);
        _stake(PAYEE, 100 * OPEN);
        vm.assertLe(100 * OPEN - 2, staking.bondedOf(TARGET, PAYEE));
        vm.warp(block.timestamp + UNBONDING);
        vm.prank(holder);
        staking.withdraw(id);
        vm.assertTrue(staking.isSolvent());
    }

    function test_a_token_that_calls_back_does_not_get_in() public {
        ReentrantToken again = new ReentrantToken();
        OpenStaking other = new OpenStaking(ADMIN, 1 days, again, cap, TREASURY, UNBONDING, APPEAL);
        again.mint(holder, 10 * OPEN);
        vm.startPrank(holder);
        again.approve(address(other), 10 * OPEN);
        again.arm(address(other), abi.encodeCall(other.stake, (TARGET, OPEN)));
        other.stake(TARGET, OPEN);
        vm.assertFalse(again.hasEntered());
        vm.assertEq(other.totalStaked(), OPEN);
    }

    function test_a_contract_without_treasury_or_with_a_quick_exit_is_refused() public {
        vm.expectRevert(OpenStaking.TreasuryMissing.selector);
        new OpenStaking(ADMIN, 1 days, token, cap, address(0), UNBONDING, APPEAL);
        vm.expectRevert(OpenStaking.UnbondingTooShort.selector);
        new OpenStaking(ADMIN, 1 days, token, cap, TREASURY, APPEAL, APPEAL);
    }

    function testFuzz_who_stakes_and_leaves_never_gets_more_than_the_stake(uint256 first, uint256 second) public {
        first = _bound(first, OPEN, 1_000 * OPEN);
        second = _bound(second, OPEN, 300 * OPEN);
        _stake(holder, first);
        _stake(PAYEE, second);
        _slash(staking.slashCap(TARGET));
        uint256 worth = staking.bondedOf(TARGET, PAYEE);
        vm.assertLe(worth, second - second / 10 + 1);
        (uint256 shares, , ) = staking.positions(TARGET, PAYEE);
        uint256 id = _leave(PAYEE, shares);
        vm.warp(block.timestamp + UNBONDING);
        _withdraw(PAYEE, id);
        vm.assertLe(token.balanceOf(PAYEE), 300 * OPEN - second + worth);
        vm.assertTrue(staking.isSolvent());
    }

    function testFuzz_income_paid_is_never_more_than_income_added(uint256 first, uint256 second, uint256 income) public {
        first = _bound(first, OPEN, 900 * OPEN);
        second = _bound(second, OPEN, 300 * OPEN);
        income = _bound(income, 1, 100 * OPEN);
        _stake(holder, first);
        _stake(PAYEE, second);
        _fund(STRANGER, income);
        vm.prank(STRANGER);
        staking.addIncome(TARGET, income);
        uint256 sum = staking.incomeOf(TARGET, holder) + staking.incomeOf(TARGET, PAYEE);
        vm.assertLe(sum, income);
        vm.assertLe(income, sum + 2);
    }

    function test_gas_of_a_stake() public {
        _stake(holder, 100 * OPEN);
        vm.snapshotGasLastCall("OpenStaking", "stake, first");
        _stake(holder, 100 * OPEN);
        vm.snapshotGasLastCall("OpenStaking", "stake, again");
        uint256 id = _leave(holder, OPEN);
        vm.snapshotGasLastCall("OpenStaking", "start unbonding");
        vm.warp(block.timestamp + UNBONDING);
        _withdraw(holder, id);
        vm.snapshotGasLastCall("OpenStaking", "withdraw");
        _announce(OPEN);
        vm.snapshotGasLastCall("OpenStaking", "announce slash");
        vm.warp(block.timestamp + APPEAL);
        staking.executeSlash(TARGET);
        vm.snapshotGasLastCall("OpenStaking", "execute slash");
    }
}

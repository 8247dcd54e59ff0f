// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenStaking} from "../src/OpenStaking.sol";
import {Base} from "./Base.sol";
import {ReentrantToken} from "./Hostile.sol";
import {Cap} from "./OpenStaking.t.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @dev Calls back from a transfer by signature, which it makes of whoever is named.
contract ReentrantSignedToken is ReentrantToken {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _transfer(from, to, value);
    }
}

/// @dev An approval, or the stake itself, by signature instead of a transaction of the staker.
contract StakingBySignatureTest is Base {
    bytes32 private constant TARGET = keccak256("datanet:1");
    bytes32 private constant OTHER = keccak256("agent:1");
    bytes32 private constant SALT = keccak256("salt");

    OpenStaking private staking;
    uint256 private deadline;

    function setUp() public {
        _setUpToken();
        staking = new OpenStaking(ADMIN, 1 days, token, new Cap(), address(0x7E), 14 days, 7 days);
        deadline = block.timestamp + 60;
    }

    function _permitted(uint256 amount) private view returns (uint8 v, bytes32 r, bytes32 s) {
        return vm.sign(HOLDER_KEY, _permitDigest(address(staking), amount, deadline));
    }

    function _authorized(bytes32 target, uint256 amount) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 nonce = staking.stakeNonce(target, SALT);
        return vm.sign(HOLDER_KEY, _receiptDigest(holder, address(staking), amount, deadline, nonce));
    }

    function _send(bytes32 target, uint256 amount, uint8 v, bytes32 r, bytes32 s) private {
        vm.prank(STRANGER);
        staking.stakeWithAuthorization(holder, target, amount, 0, deadline, SALT, v, r, s);
    }

    function test_one_signature_and_one_transaction_stake() public {
        (uint8 v, bytes32 r, bytes32 s) = _permitted(100 * OPEN);
        vm.prank(holder);
        staking.stakeWithPermit(TARGET, 100 * OPEN, deadline, v, r, s);
        vm.snapshotGasLastCall("OpenStaking", "stake with permit, first");
        vm.assertEq(staking.bondedOf(TARGET, holder), 100 * OPEN);
        vm.assertEq(token.allowance(holder, address(staking)), 0);
    }

    function test_a_permit_that_somebody_sent_first_does_not_stop_the_stake() public {
        (uint8 v, bytes32 r, bytes32 s) = _permitted(100 * OPEN);
        vm.prank(STRANGER);
        token.permit(holder, address(staking), 100 * OPEN, deadline, v, r, s);
        vm.prank(holder);
        staking.stakeWithPermit(TARGET, 100 * OPEN, deadline, v, r, s);
        vm.assertEq(staking.bondedOf(TARGET, holder), 100 * OPEN);
    }

    function test_a_permit_of_somebody_else_moves_nothing() public {
        (uint8 v, bytes32 r, bytes32 s) = _permitted(100 * OPEN);
        vm.prank(STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, staking, 0, 100 * OPEN)
        );
        staking.stakeWithPermit(TARGET, 100 * OPEN, deadline, v, r, s);
        vm.assertEq(staking.totalStaked(), 0);
    }

    function test_a_stranger_sends_a_signed_stake_and_the_signer_owns_it() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 100 * OPEN);
        _send(TARGET, 100 * OPEN, v, r, s);
        vm.snapshotGasLastCall("OpenStaking", "stake with authorization, first");
        vm.assertEq(staking.bondedOf(TARGET, holder), 100 * OPEN);
        vm.assertEq(staking.bondedOf(TARGET, STRANGER), 0);
        vm.assertEq(token.balanceOf(holder), 900 * OPEN);
        vm.assertTrue(staking.isSolvent());
    }

    function test_a_signed_stake_cannot_be_turned_to_another_target_or_amount() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 100 * OPEN);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _send(OTHER, 100 * OPEN, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _send(TARGET, 101 * OPEN, v, r, s);
        vm.assertEq(staking.totalStaked(), 0);
    }

    function test_a_signed_stake_works_once_and_in_its_time() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 100 * OPEN);
        _send(TARGET, 100 * OPEN, v, r, s);
        bytes32 nonce = staking.stakeNonce(TARGET, SALT);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, holder, nonce));
        _send(TARGET, 100 * OPEN, v, r, s);
        (v, r, s) = _authorized(OTHER, OPEN);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, 0, deadline));
        _send(OTHER, OPEN, v, r, s);
    }

    function test_a_signed_stake_cannot_be_taken_without_being_staked() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 100 * OPEN);
        bytes32 nonce = staking.stakeNonce(TARGET, SALT);
        vm.startPrank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, staking));
        token.receiveWithAuthorization(holder, address(staking), 100 * OPEN, 0, deadline, nonce, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(holder, address(staking), 100 * OPEN, 0, deadline, nonce, v, r, s);
    }

    function test_more_than_the_signer_has_or_less_than_the_least_stakes_nothing() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 1_001 * OPEN);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector,
                holder,
                1_000 * OPEN,
                1_001 * OPEN
            )
        );
        _send(TARGET, 1_001 * OPEN, v, r, s);
        (v, r, s) = _authorized(TARGET, OPEN - 1);
        vm.expectRevert(abi.encodeWithSelector(OpenStaking.StakeTooSmall.selector, OPEN - 1));
        _send(TARGET, OPEN - 1, v, r, s);
        vm.assertEq(staking.liabilities(), 0);
    }

    function test_nobody_enters_by_signature_while_a_slash_waits() public {
        (uint8 v, bytes32 r, bytes32 s) = _authorized(TARGET, 100 * OPEN);
        _send(TARGET, 100 * OPEN, v, r, s);
        bytes32 role = staking.SLASHER_ROLE();
        vm.prank(ADMIN);
        staking.grantRole(role, STRANGER);
        vm.prank(STRANGER);
        staking.announceSlash(TARGET, OPEN, SALT);
        bytes memory refusal = abi.encodeWithSelector(OpenStaking.SlashWaits.selector, TARGET);
        vm.expectRevert(refusal);
        _send(TARGET, 100 * OPEN, v, r, s);
        vm.expectRevert(refusal);
        staking.stakeWithPermit(TARGET, OPEN, deadline, v, r, s);
    }

    function test_a_token_that_calls_back_does_not_get_in_by_either_door() public {
        ReentrantSignedToken again = new ReentrantSignedToken();
        OpenStaking other = new OpenStaking(ADMIN, 1 days, again, new Cap(), address(0x7E), 14 days, 7 days);
        again.mint(holder, 10 * OPEN);
        bytes memory permit = abi.encodeCall(other.stakeWithPermit, (TARGET, OPEN, deadline, 27, SALT, SALT));
        again.arm(
            address(other),
            abi.encodeCall(other.stakeWithAuthorization, (holder, TARGET, OPEN, 0, deadline, SALT, 27, SALT, SALT))
        );
        vm.startPrank(holder);
        again.approve(address(other), 10 * OPEN);
        other.stakeWithPermit(TARGET, OPEN, deadline, 27, SALT, SALT);
        again.arm(address(other), permit);
        other.stakeWithAuthorization(holder, TARGET, OPEN, 0, deadline, SALT, 27, SALT, SALT);
        vm.assertFalse(again.hasEntered());
        vm.assertEq(other.totalStaked(), 2 * OPEN);
        vm.assertTrue(other.isSolvent());
    }

    function testFuzz_each_target_and_salt_has_a_nonce_of_its_own(
        bytes32 target,
        bytes32 salt,
        bytes32 otherTarget,
        bytes32 otherSalt
    ) public view {
        vm.assume(target != otherTarget || salt != otherSalt);
        vm.assertTrue(staking.stakeNonce(target, salt) != staking.stakeNonce(otherTarget, otherSalt));
    }

    function testFuzz_all_three_doors_give_the_same_stake(uint256 amount, uint256 second, uint256 third) public {
        amount = _bound(amount, OPEN, 300 * OPEN);
        second = _bound(second, OPEN, 300 * OPEN);
        third = _bound(third, OPEN, 300 * OPEN);
        vm.startPrank(holder);
        token.approve(address(staking), amount);
        staking.stake(TARGET, amount);
        (uint8 v, bytes32 r, bytes32 s) = _permitted(second);
        staking.stakeWithPermit(TARGET, second, deadline, v, r, s);
        vm.stopPrank();
        (v, r, s) = _authorized(TARGET, third);
        _send(TARGET, third, v, r, s);
        vm.assertEq(staking.bondedOf(TARGET, holder), amount + second + third);
        vm.assertEq(token.balanceOf(address(staking)), staking.liabilities());
    }
}

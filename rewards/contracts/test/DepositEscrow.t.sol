// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DepositEscrow} from "../src/DepositEscrow.sol";
import {Base} from "./Base.sol";
import {FalseToken, FeeToken, ReentrantToken} from "./Hostile.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

contract DepositEscrowTest is Base {
    address private constant DISTRIBUTOR = address(0xD15);
    bytes32 private constant ID = keccak256("withdrawal 1");

    DepositEscrow private escrow;

    function setUp() public {
        _setUpToken();
        escrow = _escrowOf(token);
        vm.prank(holder);
        token.approve(address(escrow), type(uint256).max);
    }

    function _escrowOf(IERC20 token_) private returns (DepositEscrow created) {
        created = new DepositEscrow(ADMIN, 1 days, token_, DISTRIBUTOR);
        vm.startPrank(ADMIN);
        created.grantRole(created.OPERATOR_ROLE(), OPERATOR);
        created.grantRole(created.PAUSER_ROLE(), GUARDIAN);
        vm.stopPrank();
    }

    function _deposit(uint256 amount) private {
        vm.prank(holder);
        escrow.deposit(amount);
    }

    function test_a_deposit_is_kept_and_announced_with_the_next_id() public {
        _deposit(OPEN);
        vm.expectEmit();
        emit DepositEscrow.Deposited(holder, 2 * OPEN, 2);
        _deposit(2 * OPEN);
        vm.assertEq(token.balanceOf(address(escrow)), 3 * OPEN);
        vm.assertEq(escrow.depositCount(), 2);
    }

    function test_a_deposit_without_approval_or_of_nothing_is_refused() public {
        vm.prank(STRANGER);
        vm.expectRevert();
        escrow.deposit(OPEN);
        vm.expectRevert(DepositEscrow.ZeroAmount.selector);
        _deposit(0);
    }

    function test_a_permit_replaces_the_approval() public {
        vm.prank(holder);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, _permitDigest(address(escrow), OPEN, block.timestamp));
        vm.prank(holder);
        escrow.depositWithPermit(OPEN, block.timestamp, v, r, s);
        vm.assertEq(token.balanceOf(address(escrow)), OPEN);
    }

    function test_a_permit_that_somebody_sent_first_still_deposits() public {
        vm.prank(holder);
        token.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, _permitDigest(address(escrow), OPEN, block.timestamp));
        token.permit(holder, address(escrow), OPEN, block.timestamp, v, r, s);
        vm.prank(holder);
        escrow.depositWithPermit(OPEN, block.timestamp, v, r, s);
        vm.assertEq(token.balanceOf(address(escrow)), OPEN);
    }

    function test_a_permit_of_somebody_else_deposits_nothing() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, _permitDigest(address(escrow), OPEN, block.timestamp));
        vm.prank(STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, OPEN)
        );
        escrow.depositWithPermit(OPEN, block.timestamp, v, r, s);
    }

    function test_only_what_arrives_is_credited() public {
        FeeToken fee = new FeeToken();
        DepositEscrow other = _escrowOf(fee);
        fee.mint(holder, OPEN);
        vm.startPrank(holder);
        fee.approve(address(other), OPEN);
        vm.expectEmit();
        emit DepositEscrow.Deposited(holder, OPEN - OPEN / 10, 1);
        other.deposit(OPEN);
    }

    function test_a_token_that_returns_false_is_refused() public {
        FalseToken no = new FalseToken();
        DepositEscrow other = _escrowOf(no);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        other.deposit(OPEN);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        other.withdraw(PAYEE, OPEN, ID);
    }

    function test_a_token_that_calls_back_does_not_get_in() public {
        ReentrantToken again = new ReentrantToken();
        DepositEscrow other = _escrowOf(again);
        again.mint(holder, OPEN);
        vm.startPrank(holder);
        again.approve(address(other), OPEN);
        again.arm(address(other), abi.encodeCall(other.deposit, (0)));
        other.deposit(OPEN);
        vm.assertFalse(again.hasEntered());
        vm.assertEq(other.depositCount(), 1);
    }

    function test_an_operator_withdraws_and_an_id_works_once() public {
        _deposit(2 * OPEN);
        vm.startPrank(OPERATOR);
        vm.expectEmit();
        emit DepositEscrow.Withdrawn(PAYEE, OPEN, ID);
        escrow.withdraw(PAYEE, OPEN, ID);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
        vm.expectRevert(abi.encodeWithSelector(DepositEscrow.AlreadyProcessed.selector, ID));
        escrow.withdraw(PAYEE, OPEN, ID);
        vm.expectRevert(abi.encodeWithSelector(DepositEscrow.AlreadyProcessed.selector, ID));
        escrow.fund(OPEN, ID);
    }

    function test_funding_goes_to_the_distributor_only() public {
        _deposit(2 * OPEN);
        vm.expectEmit();
        emit DepositEscrow.Funded(DISTRIBUTOR, OPEN, ID);
        vm.prank(OPERATOR);
        escrow.fund(OPEN, ID);
        vm.assertEq(token.balanceOf(DISTRIBUTOR), OPEN);
    }

    function test_a_failed_withdrawal_does_not_use_up_its_id() public {
        _deposit(OPEN);
        vm.startPrank(OPERATOR);
        vm.expectRevert();
        escrow.withdraw(PAYEE, 2 * OPEN, ID);
        vm.expectRevert(DepositEscrow.ZeroAmount.selector);
        escrow.withdraw(PAYEE, 0, ID);
        vm.assertFalse(escrow.isUsed(ID));
        escrow.withdraw(PAYEE, OPEN, ID);
    }

    function test_nobody_else_moves_custody_not_even_admin_or_depositor() public {
        _deposit(OPEN);
        bytes32 role = escrow.OPERATOR_ROLE();
        address[3] memory callers = [ADMIN, holder, GUARDIAN];
        for (uint256 i = 0; i < callers.length; i++) {
            bytes memory refusal =
                abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, callers[i], role);
            vm.startPrank(callers[i]);
            vm.expectRevert(refusal);
            escrow.withdraw(callers[i], OPEN, ID);
            vm.expectRevert(refusal);
            escrow.fund(OPEN, ID);
            vm.stopPrank();
        }
    }

    function test_a_pause_stops_money_both_ways_and_ends() public {
        _deposit(OPEN);
        vm.prank(GUARDIAN);
        escrow.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        _deposit(OPEN);
        vm.prank(OPERATOR);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        escrow.withdraw(PAYEE, OPEN, ID);
        vm.prank(GUARDIAN);
        escrow.unpause();
        _deposit(OPEN);
    }

    function test_an_operator_cannot_pause() public {
        vm.prank(OPERATOR);
        vm.expectRevert();
        escrow.pause();
    }

    function testFuzz_the_balance_is_what_came_in_less_what_went_out(uint96 amount, uint96 out) public {
        uint256 deposited = _bound(amount, 1, 1_000 * OPEN);
        uint256 withdrawn = _bound(out, 1, deposited);
        _deposit(deposited);
        vm.prank(OPERATOR);
        escrow.withdraw(PAYEE, withdrawn, ID);
        vm.assertEq(token.balanceOf(address(escrow)), deposited - withdrawn);
    }

    function test_gas_of_deposits_and_withdrawals() public {
        _deposit(OPEN);
        vm.snapshotGasLastCall("DepositEscrow", "deposit, first");
        _deposit(OPEN);
        vm.snapshotGasLastCall("DepositEscrow", "deposit, again");
        vm.prank(OPERATOR);
        escrow.withdraw(PAYEE, OPEN, ID);
        vm.snapshotGasLastCall("DepositEscrow", "withdraw");
    }
}

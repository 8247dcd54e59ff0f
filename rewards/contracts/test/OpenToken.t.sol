// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenToken} from "../src/OpenToken.sol";
import {Base} from "./Base.sol";
import {Wallet} from "./Hostile.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

contract OpenTokenTest is Base {
    bytes32 private constant NONCE = keccak256("a random nonce");
    bytes32 private constant TRANSFER_TYPE = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE_TYPE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL_TYPE = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    function setUp() public {
        _setUpToken();
    }

    function _sign(bytes32 typeHash, address from, uint256 value, bytes32 nonce)
        private
        view
        returns (uint8, bytes32, bytes32)
    {
        bytes32 structHash = keccak256(abi.encode(typeHash, from, PAYEE, value, 0, block.timestamp + 60, nonce));
        return vm.sign(HOLDER_KEY, _digest(structHash));
    }

    function _pay(uint256 signedValue, uint256 value, bytes32 nonce) private {
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, signedValue, nonce);
        token.transferWithAuthorization(holder, PAYEE, value, 0, block.timestamp + 60, nonce, v, r, s);
    }

    function _payBytes(address from, uint256 value, bytes32 nonce) private {
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, from, value, nonce);
        bytes memory signature = abi.encodePacked(r, s, v);
        token.transferWithAuthorization(from, PAYEE, value, 0, block.timestamp + 60, nonce, signature);
    }

    function test_it_is_called_open_and_has_18_decimals() public view {
        vm.assertEq(token.name(), "OPEN");
        vm.assertEq(token.symbol(), "OPEN");
        vm.assertEq(token.decimals(), 18);
    }

    function test_a_minter_can_mint_up_to_the_cap_and_not_one_wei_more() public {
        vm.startPrank(OPERATOR);
        token.mint(PAYEE, CAP - token.totalSupply());
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, CAP + 1, CAP));
        token.mint(PAYEE, 1);
    }

    function test_nobody_else_can_mint_not_even_the_admin() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ADMIN, role));
        token.mint(ADMIN, 1);
    }

    function test_voting_power_follows_delegation_on_a_clock_of_seconds() public {
        vm.assertEq(token.clock(), block.timestamp);
        vm.assertEq(token.CLOCK_MODE(), "mode=timestamp");
        vm.assertEq(token.getVotes(holder), 0);
        vm.prank(holder);
        token.delegate(holder);
        vm.assertEq(token.getVotes(holder), 1_000 * OPEN);
        uint256 snapshot = block.timestamp;
        vm.warp(snapshot + 1);
        vm.prank(holder);
        token.transfer(PAYEE, OPEN);
        vm.assertEq(token.getPastVotes(holder, snapshot), 1_000 * OPEN);
        vm.assertEq(token.getVotes(holder), 999 * OPEN);
    }

    function test_a_permit_approves_once() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, _permitDigest(PAYEE, OPEN, block.timestamp));
        token.permit(holder, PAYEE, OPEN, block.timestamp, v, r, s);
        vm.assertEq(token.allowance(holder, PAYEE), OPEN);
        vm.expectRevert();
        token.permit(holder, PAYEE, OPEN, block.timestamp, v, r, s);
    }

    function test_an_expired_permit_is_refused() public {
        uint256 deadline = block.timestamp - 1;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, _permitDigest(PAYEE, OPEN, deadline));
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, deadline));
        token.permit(holder, PAYEE, OPEN, deadline, v, r, s);
    }

    function test_a_signed_payment_moves_the_signed_amount() public {
        _pay(OPEN, OPEN, NONCE);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
        vm.assertTrue(token.authorizationState(holder, NONCE));
    }

    function test_a_signed_payment_works_once_whichever_form_is_used() public {
        _payBytes(holder, OPEN, NONCE);
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, OPEN, NONCE);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, holder, NONCE));
        token.transferWithAuthorization(holder, PAYEE, OPEN, 0, block.timestamp + 60, NONCE, v, r, s);
    }

    function test_payments_with_random_nonces_work_in_any_order() public {
        _pay(OPEN, OPEN, bytes32(uint256(2)));
        _payBytes(holder, OPEN, bytes32(type(uint256).max));
        _pay(OPEN, OPEN, bytes32(uint256(1)));
        vm.assertEq(token.balanceOf(PAYEE), 3 * OPEN);
    }

    function test_another_amount_than_the_signed_one_is_refused() public {
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, OPEN, NONCE);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(holder, PAYEE, OPEN + 1, 0, block.timestamp + 60, NONCE, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(
            holder, PAYEE, OPEN + 1, 0, block.timestamp + 60, NONCE, abi.encodePacked(r, s, v)
        );
    }

    function test_a_payment_outside_its_time_is_refused() public {
        uint256 validBefore = block.timestamp + 60;
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, OPEN, NONCE);
        vm.warp(validBefore);
        vm.expectRevert(
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, 0, validBefore)
        );
        token.transferWithAuthorization(holder, PAYEE, OPEN, 0, validBefore, NONCE, v, r, s);
        vm.warp(validBefore - 1);
        token.transferWithAuthorization(holder, PAYEE, OPEN, 0, validBefore, NONCE, v, r, s);
    }

    function test_a_smart_wallet_pays_with_the_bytes_form() public {
        address wallet = address(new Wallet(holder));
        vm.prank(holder);
        token.transfer(wallet, OPEN);
        _payBytes(wallet, OPEN, NONCE);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
    }

    function test_a_smart_wallet_of_somebody_else_does_not_pay() public {
        address wallet = address(new Wallet(STRANGER));
        vm.prank(holder);
        token.transfer(wallet, OPEN);
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, wallet, OPEN, NONCE);
        vm.expectRevert();
        token.transferWithAuthorization(
            wallet, PAYEE, OPEN, 0, block.timestamp + 60, NONCE, abi.encodePacked(r, s, v)
        );
    }

    function test_only_the_payee_can_receive_with_authorization() public {
        (uint8 v, bytes32 r, bytes32 s) = _sign(RECEIVE_TYPE, holder, OPEN, NONCE);
        bytes memory signature = abi.encodePacked(r, s, v);
        uint256 validBefore = block.timestamp + 60;
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, PAYEE));
        token.receiveWithAuthorization(holder, PAYEE, OPEN, 0, validBefore, NONCE, signature);
        vm.prank(PAYEE);
        token.receiveWithAuthorization(holder, PAYEE, OPEN, 0, validBefore, NONCE, signature);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
    }

    function test_a_transfer_authorization_does_not_serve_as_a_receive_authorization() public {
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, OPEN, NONCE);
        vm.prank(PAYEE);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.receiveWithAuthorization(holder, PAYEE, OPEN, 0, block.timestamp + 60, NONCE, abi.encodePacked(r, s, v));
    }

    function test_a_cancelled_authorization_is_not_paid() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(HOLDER_KEY, _digest(keccak256(abi.encode(CANCEL_TYPE, holder, NONCE))));
        token.cancelAuthorization(holder, NONCE, abi.encodePacked(r, s, v));
        (v, r, s) = _sign(TRANSFER_TYPE, holder, OPEN, NONCE);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, holder, NONCE));
        token.transferWithAuthorization(holder, PAYEE, OPEN, 0, block.timestamp + 60, NONCE, v, r, s);
    }

    function test_a_cancellation_by_somebody_else_is_refused() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(HOLDER_KEY, _digest(keccak256(abi.encode(CANCEL_TYPE, STRANGER, NONCE))));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.cancelAuthorization(STRANGER, NONCE, abi.encodePacked(r, s, v));
    }

    function testFuzz_a_signature_over_one_value_pays_only_that_value(uint256 signed, uint256 paid) public {
        vm.assume(signed != paid);
        (uint8 v, bytes32 r, bytes32 s) = _sign(TRANSFER_TYPE, holder, signed, NONCE);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(holder, PAYEE, paid, 0, block.timestamp + 60, NONCE, v, r, s);
    }

    function test_gas_of_transfers() public {
        vm.prank(holder);
        token.transfer(PAYEE, OPEN);
        vm.snapshotGasLastCall("OpenToken", "transfer to a new holder");
        vm.prank(holder);
        token.transfer(PAYEE, OPEN);
        vm.snapshotGasLastCall("OpenToken", "transfer to a holder");
        _pay(OPEN, OPEN, NONCE);
        vm.snapshotGasLastCall("OpenToken", "transferWithAuthorization (v,r,s)");
        _payBytes(holder, OPEN, bytes32(uint256(1)));
        vm.snapshotGasLastCall("OpenToken", "transferWithAuthorization (bytes)");
    }
}

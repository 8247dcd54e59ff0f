// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CumulativeMerkleDistributor} from "../src/CumulativeMerkleDistributor.sol";
import {DepositEscrow} from "../src/DepositEscrow.sol";
import {OpenStaking} from "../src/OpenStaking.sol";
import {OpenToken} from "../src/OpenToken.sol";
import {GrantWallet} from "../src/OpenVesting.sol";
import {Base} from "./Base.sol";
import {Cap} from "./OpenStaking.t.sol";

/// @dev Proved for all arguments by halmos (`make contracts-prove`); forge runs only what begins with `test`.
contract Symbolic is Base {
    address private constant PERSON = address(0xFEE);
    bytes32 private constant ID = keccak256("withdrawal");

    CumulativeMerkleDistributor private distributor;
    DepositEscrow private escrow;

    function setUp() public {
        token = new OpenToken(ADMIN, 1 days, CAP);
        holder = address(0xA11);
        vm.prank(ADMIN);
        token.grantRole(keccak256("MINTER_ROLE"), OPERATOR);
        vm.prank(OPERATOR);
        token.mint(holder, 1_000 * OPEN);
        distributor = new CumulativeMerkleDistributor(ADMIN, 1 days, token, 0);
        escrow = new DepositEscrow(ADMIN, 1 days, token, address(distributor));
        vm.startPrank(ADMIN);
        distributor.grantRole(keccak256("PROPOSER_ROLE"), OPERATOR);
        escrow.grantRole(keccak256("OPERATOR_ROLE"), OPERATOR);
        vm.stopPrank();
        vm.startPrank(holder);
        token.transfer(address(distributor), 400 * OPEN);
        token.transfer(address(escrow), 300 * OPEN);
        token.approve(address(escrow), type(uint256).max);
        vm.stopPrank();
    }

    function _activate(bytes32 root, uint256 total, uint64 epoch) private {
        vm.prank(OPERATOR);
        distributor.propose(root, total, bytes32(uint256(1)), epoch);
        distributor.activate(root);
    }

    /// @dev Whatever a leaf says and a total allows: an account gets at most its leaf, all get at most the total, and
    /// the same leaf is paid once.
    function check_a_claim_pays_a_leaf_once_and_never_more_than_the_total(uint96 leaf, uint96 total) public {
        vm.assume(total <= 400 * OPEN);
        bytes32 root = distributor.leafOf(PERSON, leaf);
        _activate(root, total, 1);
        (bool paid,) = _claim(leaf, root);
        assert(paid == (leaf > 0 && leaf <= total));
        assert(token.balanceOf(PERSON) == (paid ? leaf : 0));
        assert(distributor.totalClaimed() == token.balanceOf(PERSON));
        (bool again,) = _claim(leaf, root);
        assert(!again);
    }

    /// @dev Two epochs in either order of size: what was paid is the larger leaf, never the sum.
    function check_two_epochs_pay_the_larger_leaf(uint96 first, uint96 second) public {
        vm.assume(first > 0 && second > 0 && first <= 400 * OPEN && second <= 400 * OPEN);
        bytes32 before = distributor.leafOf(PERSON, first);
        _activate(before, 400 * OPEN, 1);
        bytes32 later = distributor.leafOf(PERSON, second);
        vm.assume(before != later);
        _claim(first, before);
        _activate(later, 400 * OPEN, 2);
        _claim(second, later);
        assert(token.balanceOf(PERSON) == (first > second ? first : second));
    }

    /// @dev A total never falls, and is never above what the contract was given.
    function check_a_total_is_funded_and_never_falls(uint256 total, uint256 next) public {
        vm.prank(OPERATOR);
        (bool proposed,) = address(distributor).call(
            abi.encodeCall(distributor.propose, (bytes32(uint256(7)), total, bytes32(0), 1))
        );
        assert(proposed == (total <= 400 * OPEN));
        if (!proposed) return;
        distributor.activate(bytes32(uint256(7)));
        vm.prank(OPERATOR);
        (bool again,) = address(distributor).call(
            abi.encodeCall(distributor.propose, (bytes32(uint256(8)), next, bytes32(0), 2))
        );
        assert(again == (next >= total && next <= 400 * OPEN));
    }

    /// @dev A deposit moves exactly its amount or nothing.
    function check_a_deposit_moves_its_amount_or_nothing(uint256 amount) public {
        uint256 held = token.balanceOf(address(escrow));
        uint256 owned = token.balanceOf(holder);
        vm.prank(holder);
        (bool done,) = address(escrow).call(abi.encodeCall(escrow.deposit, (amount)));
        assert(done == (amount > 0 && amount <= owned));
        assert(token.balanceOf(address(escrow)) == held + (done ? amount : 0));
        assert(token.balanceOf(holder) == owned - (done ? amount : 0));
    }

    /// @dev An id of a withdrawal works once, for its operator only, and never takes more than is there.
    function check_an_id_of_a_withdrawal_works_once(address caller, uint256 amount, uint256 other) public {
        uint256 held = token.balanceOf(address(escrow));
        vm.prank(caller);
        (bool done,) = address(escrow).call(abi.encodeCall(escrow.withdraw, (PERSON, amount, ID)));
        if (done) assert(caller == OPERATOR && amount <= held);
        assert(token.balanceOf(PERSON) == (done ? amount : 0));
        if (!done) return;
        vm.prank(OPERATOR);
        (bool again,) = address(escrow).call(abi.encodeCall(escrow.withdraw, (PERSON, other, ID)));
        assert(!again);
    }

    /// @dev Whoever calls at whatever time: a grant pays its owner alone, nothing before the cliff, all of it at the end,
    /// and twice at the same time pays once.
    function check_a_grant_pays_its_owner_what_is_unlocked(address caller, uint64 at) public {
        GrantWallet wallet = new GrantWallet(PERSON, 1_800_000_000, 365 days, 1_460 days);
        vm.assume(caller != address(wallet) && caller != address(token));
        vm.prank(holder);
        token.transfer(address(wallet), 300 * OPEN);
        vm.warp(at);
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(caller);
            wallet.release(address(token));
            uint256 paid = token.balanceOf(PERSON);
            assert(paid == wallet.vestedAmount(address(token), at) && paid <= 300 * OPEN);
            assert(paid + token.balanceOf(address(wallet)) == 300 * OPEN);
            if (at < 1_800_000_000 + 365 days) assert(paid == 0);
            if (at >= 1_800_000_000 + 1_460 days) assert(paid == 300 * OPEN);
        }
    }

    /// @dev Whatever is said to be a permit: a stake moves exactly its amount of its caller, or nothing.
    function check_a_stake_with_any_permit_moves_its_amount_or_nothing(
        bytes32 target,
        uint256 amount,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) public {
        OpenStaking staking = new OpenStaking(ADMIN, 1 days, token, new Cap(), PERSON, 2, 1);
        uint256 owned = token.balanceOf(holder);
        vm.startPrank(holder);
        token.approve(address(staking), type(uint256).max);
        (bool done,) = address(staking).call(
            abi.encodeCall(staking.stakeWithPermit, (target, amount, block.timestamp, v, r, s))
        );
        assert(done == (amount >= OPEN && amount <= owned));
        assert(token.balanceOf(address(staking)) == (done ? amount : 0));
        assert(staking.totalStaked() == (done ? amount : 0));
        assert(token.balanceOf(holder) == owned - (done ? amount : 0));
    }

    function _claim(uint256 leaf, bytes32 root) private returns (bool, bytes memory) {
        bytes32[] memory none = new bytes32[](0);
        return address(distributor).call(abi.encodeCall(distributor.claim, (PERSON, leaf, root, none)));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenStaking} from "../src/OpenStaking.sol";
import {OpenToken} from "../src/OpenToken.sol";
import {Base} from "./Base.sol";
import {Cap} from "./OpenStaking.t.sol";

/// @dev Three people on two targets do everything in any order, with a slasher and an arbiter among them.
contract Staker is Base {
    uint256 public constant PEOPLE = 3;
    address public constant TREASURY = address(0x7E);

    OpenStaking public immutable staking;

    uint256 public paidIn;
    uint256 public paidOut;
    uint256 public slashed;
    uint256 public incomeIn;
    uint256 public incomeOut;
    uint256 private signatures;

    constructor() {
        _setUpToken();
        staking = new OpenStaking(address(this), 0, token, new Cap(), TREASURY, 14 days, 7 days);
        staking.grantRole(staking.SLASHER_ROLE(), address(this));
        staking.grantRole(staking.ARBITER_ROLE(), address(this));
        for (uint256 i = 0; i < PEOPLE; i++) {
            vm.prank(OPERATOR);
            token.mint(person(i), 1_000 * OPEN);
            vm.prank(person(i));
            token.approve(address(staking), type(uint256).max);
        }
        vm.prank(holder);
        token.approve(address(staking), type(uint256).max);
    }

    function openToken() external view returns (OpenToken) {
        return token;
    }

    function person(uint256 index) public pure returns (address) {
        return vm.addr(_key(index));
    }

    function _key(uint256 index) private pure returns (uint256) {
        return 0xF000 + index;
    }

    function target(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode(index % 2));
    }

    function _slashWaits(bytes32 at) private view returns (bool) {
        (, , uint64 executableAt) = staking.slashes(at);
        return executableAt != 0;
    }

    function stake(uint256 who, uint256 where, uint256 amount) external {
        address account = person(who % PEOPLE);
        uint256 balance = token.balanceOf(account);
        if (balance < OPEN || _slashWaits(target(where))) return;
        amount = _bound(amount, OPEN, balance);
        vm.prank(account);
        staking.stake(target(where), amount);
        paidIn += amount;
    }

    function stakeBySignature(uint256 who, uint256 where, uint256 amount) external {
        address account = person(who % PEOPLE);
        uint256 balance = token.balanceOf(account);
        if (balance < OPEN || _slashWaits(target(where))) return;
        amount = _bound(amount, OPEN, balance);
        bytes32 salt = bytes32(++signatures);
        uint256 validBefore = block.timestamp + 1;
        bytes32 nonce = staking.stakeNonce(target(where), salt);
        bytes32 digest = _receiptDigest(account, address(staking), amount, validBefore, nonce);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_key(who % PEOPLE), digest);
        staking.stakeWithAuthorization(account, target(where), amount, 0, validBefore, salt, v, r, s);
        paidIn += amount;
    }

    function leave(uint256 who, uint256 where, uint256 shares) external {
        address account = person(who % PEOPLE);
        (uint256 owned, , ) = staking.positions(target(where), account);
        if (owned < 1e9 || _slashWaits(target(where))) return;
        vm.prank(account);
        staking.startUnbonding(target(where), _bound(shares, 1e9, owned));
    }

    function withdraw(uint256 id) external {
        if (staking.unbondingCount() == 0) return;
        id = _bound(id, 1, staking.unbondingCount());
        (address account, uint64 releasableAt, bytes32 at, ) = staking.unbondings(id);
        if (account == address(0) || _slashWaits(at)) return;
        if (block.timestamp < releasableAt) vm.warp(releasableAt);
        uint256 before = token.balanceOf(account);
        vm.prank(account);
        staking.withdraw(id);
        paidOut += token.balanceOf(account) - before;
    }

    function addIncome(uint256 where, uint256 amount) external {
        (, uint256 shares) = staking.bonded(target(where));
        uint256 balance = token.balanceOf(holder);
        if (shares == 0 || balance == 0) return;
        amount = _bound(amount, 1, balance / 10 + 1);
        vm.prank(holder);
        staking.addIncome(target(where), amount);
        incomeIn += amount;
    }

    function collect(uint256 who, uint256 where) external {
        address account = person(who % PEOPLE);
        if (staking.incomeOf(target(where), account) == 0) return;
        vm.prank(account);
        incomeOut += staking.collectIncome(target(where));
    }

    function announce(uint256 where, uint256 amount) external {
        uint256 cap = staking.slashCap(target(where));
        if (cap == 0 || _slashWaits(target(where))) return;
        staking.announceSlash(target(where), _bound(amount, 1, cap), bytes32(uint256(1)));
    }

    function decide(uint256 where, bool isOverturned) external {
        (uint256 amount, , uint64 executableAt) = staking.slashes(target(where));
        if (executableAt == 0) return;
        if (isOverturned && block.timestamp < executableAt) return staking.overturnSlash(target(where));
        if (block.timestamp < executableAt) vm.warp(executableAt);
        staking.executeSlash(target(where));
        slashed += amount;
    }
}

contract StakingInvariantsTest is Base {
    Staker private staker;
    OpenStaking private staking;

    function setUp() public {
        staker = new Staker();
        staking = staker.staking();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(staker);
    }

    function invariant_the_contract_holds_all_that_it_owes() public view {
        vm.assertTrue(staking.isSolvent());
        uint256 held = staker.openToken().balanceOf(address(staking));
        vm.assertEq(held, staking.liabilities());
    }

    function invariant_stake_is_what_came_in_less_what_left_and_what_was_slashed() public view {
        vm.assertEq(staking.totalStaked(), staker.paidIn() - staker.paidOut() - staker.slashed());
        vm.assertEq(staker.openToken().balanceOf(staker.TREASURY()), staker.slashed());
        vm.assertEq(staking.totalStaked(), staking.stakeOf(staker.target(0)) + staking.stakeOf(staker.target(1)));
    }

    function invariant_income_is_never_more_than_was_paid_in() public view {
        uint256 owed = staker.incomeOut();
        for (uint256 i = 0; i < staker.PEOPLE(); i++) {
            for (uint256 j = 0; j < 2; j++) owed += staking.incomeOf(staker.target(j), staker.person(i));
        }
        vm.assertLe(owed, staker.incomeIn());
    }

    function invariant_all_positions_together_are_worth_no_more_than_their_pool() public view {
        for (uint256 j = 0; j < 2; j++) {
            uint256 worth;
            for (uint256 i = 0; i < staker.PEOPLE(); i++) worth += staking.bondedOf(staker.target(j), staker.person(i));
            (uint256 amount, ) = staking.bonded(staker.target(j));
            vm.assertLe(worth, amount);
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {GrantWallet, OpenVesting} from "../src/OpenVesting.sol";
import {OpenToken} from "../src/OpenToken.sol";
import {Base} from "./Base.sol";

/// @dev Grants, releases, gifts, hand-overs and time in any order.
contract Granter is Base {
    OpenVesting public immutable vesting;

    GrantWallet[] public wallets;
    uint256[] public seen;
    uint256 public granted;
    uint256 public given;
    bool public hasFallen;

    constructor() {
        _setUpToken();
        vesting = new OpenVesting(address(this), 0, token);
        vesting.grantRole(vesting.GRANTER_ROLE(), holder);
        vm.prank(holder);
        token.approve(address(vesting), type(uint256).max);
    }

    function openToken() external view returns (OpenToken) {
        return token;
    }

    function count() external view returns (uint256) {
        return wallets.length;
    }

    function grant(uint256 amount, uint64 start, uint64 cliff, uint64 duration) external {
        uint256 balance = token.balanceOf(holder);
        if (balance == 0 || wallets.length == 8) return;
        amount = _bound(amount, 1, balance);
        start = uint64(_bound(start, block.timestamp - 365 days, block.timestamp + 365 days));
        duration = uint64(_bound(duration, 1, 4 * 365 days));
        cliff = uint64(_bound(cliff, 0, duration));
        bytes32 id = bytes32(wallets.length);
        vm.prank(holder);
        wallets.push(GrantWallet(payable(vesting.grant(id, PAYEE, amount, start, cliff, duration))));
        seen.push(0);
        granted += amount;
    }

    function release(uint256 which) external {
        if (wallets.length == 0) return;
        wallets[which % wallets.length].release(address(token));
        _look(which % wallets.length);
    }

    function give(uint256 which, uint256 amount) external {
        uint256 balance = token.balanceOf(holder);
        if (wallets.length == 0 || balance == 0) return;
        amount = _bound(amount, 1, balance / 10 + 1);
        vm.prank(holder);
        token.transfer(address(wallets[which % wallets.length]), amount);
        given += amount;
        _look(which % wallets.length);
    }

    function handOver(uint256 which) external {
        if (wallets.length == 0) return;
        GrantWallet wallet = wallets[which % wallets.length];
        address owner = wallet.owner();
        vm.prank(owner);
        wallet.transferOwnership(owner == PAYEE ? STRANGER : PAYEE);
    }

    function wait_(uint32 time) external {
        vm.warp(block.timestamp + (time % 200 days));
        for (uint256 i = 0; i < wallets.length; i++) _look(i);
    }

    /// @dev What a wallet has unlocked so far must never be less than when it was last looked at.
    function _look(uint256 which) private {
        uint256 vested = wallets[which].vestedAmount(address(token), uint64(block.timestamp));
        if (vested < seen[which]) hasFallen = true;
        seen[which] = vested;
    }
}

contract VestingInvariantsTest is Base {
    Granter private granter;

    function setUp() public {
        granter = new Granter();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(granter);
    }

    function invariant_what_was_granted_is_in_the_wallets_or_was_paid_out() public view {
        OpenToken open = granter.openToken();
        uint256 locked;
        uint256 released;
        for (uint256 i = 0; i < granter.count(); i++) {
            locked += open.balanceOf(address(granter.wallets(i)));
            released += granter.wallets(i).released(address(open));
        }
        vm.assertEq(locked + released, granter.granted() + granter.given());
        vm.assertEq(released, open.balanceOf(PAYEE) + open.balanceOf(STRANGER));
        vm.assertEq(open.balanceOf(address(granter.vesting())), 0);
    }

    function invariant_no_wallet_released_more_than_it_unlocked() public view {
        address open = address(granter.openToken());
        for (uint256 i = 0; i < granter.count(); i++) {
            GrantWallet wallet = granter.wallets(i);
            vm.assertLe(wallet.released(open), wallet.vestedAmount(open, uint64(block.timestamp)));
        }
    }

    function invariant_what_is_unlocked_never_falls() public view {
        vm.assertFalse(granter.hasFallen());
    }
}

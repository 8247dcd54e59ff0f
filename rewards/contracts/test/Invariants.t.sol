// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CumulativeMerkleDistributor} from "../src/CumulativeMerkleDistributor.sol";
import {DepositEscrow} from "../src/DepositEscrow.sol";
import {OpenToken} from "../src/OpenToken.sol";
import {Base} from "./Base.sol";

/// @dev What users, the operator and an attacker do, in any order. Every call that must fail is checked to fail.
contract Player is Base {
    uint256 public constant PEOPLE = 5;

    CumulativeMerkleDistributor public immutable distributor;
    DepositEscrow public immutable escrow;

    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public fundedFromEscrow;
    uint256 public published;
    mapping(uint256 person => uint256) public earned;
    mapping(uint256 person => uint256) public earnedWhenPublished;

    struct Published {
        bytes32[] nodes;
        uint256[] amounts;
    }

    Published[] private _history;
    uint256 private _nextId;

    constructor() {
        _setUpToken();
        distributor = new CumulativeMerkleDistributor(address(this), 0, token, 1 hours);
        escrow = new DepositEscrow(address(this), 0, token, address(distributor));
        distributor.grantRole(distributor.PROPOSER_ROLE(), address(this));
        distributor.grantRole(distributor.GUARDIAN_ROLE(), address(this));
        escrow.grantRole(escrow.OPERATOR_ROLE(), address(this));
        vm.prank(holder);
        token.approve(address(escrow), type(uint256).max);
    }

    function openToken() external view returns (OpenToken) {
        return token;
    }

    function person(uint256 index) public pure returns (address) {
        return address(uint160(0xF000 + index));
    }

    function deposit(uint256 amount) external {
        amount = _bound(amount, 1, 10 * OPEN);
        if (amount > token.balanceOf(holder)) return;
        vm.prank(holder);
        escrow.deposit(amount);
        deposited += amount;
    }

    function withdraw(uint256 amount) external {
        uint256 held = token.balanceOf(address(escrow));
        if (held == 0) return;
        amount = _bound(amount, 1, held);
        escrow.withdraw(holder, amount, bytes32(++_nextId));
        withdrawn += amount;
        try escrow.withdraw(holder, 1, bytes32(_nextId)) {
            revert("an id worked twice");
        } catch {}
    }

    function fund(uint256 amount) external {
        uint256 held = token.balanceOf(address(escrow));
        if (held == 0) return;
        amount = _bound(amount, 1, held);
        escrow.fund(amount, bytes32(++_nextId));
        fundedFromEscrow += amount;
    }

    function earn(uint256 index, uint256 amount) external {
        earned[index % PEOPLE] += _bound(amount, 1, OPEN);
    }

    function publish(bool isVetoed) external {
        uint256 total;
        bytes32[] memory leaves = new bytes32[](PEOPLE);
        uint256[] memory amounts = new uint256[](PEOPLE);
        for (uint256 i = 0; i < PEOPLE; i++) {
            amounts[i] = earned[i];
            total += earned[i];
            leaves[i] = distributor.leafOf(person(i), earned[i]);
        }
        bytes32[] memory nodes = _tree(leaves);
        if (total > distributor.funded()) {
            try distributor.propose(nodes[0], total, 0, distributor.currentEpoch() + 1) {
                revert("an unfunded total was accepted");
            } catch {}
            return;
        }
        distributor.propose(nodes[0], total, 0, distributor.currentEpoch() + 1);
        if (isVetoed) return distributor.veto(nodes[0]);
        vm.warp(block.timestamp + 1 hours);
        distributor.activate(nodes[0]);
        _history.push(Published(nodes, amounts));
        published += 1;
        for (uint256 i = 0; i < PEOPLE; i++) earnedWhenPublished[i] = amounts[i];
    }

    /// @dev Claims from any published epoch; must pay exactly the difference, or fail.
    function claim(uint256 index, uint256 epoch) external {
        if (_history.length == 0) return;
        index %= PEOPLE;
        Published storage chosen = _history[epoch % _history.length];
        uint256 amount = chosen.amounts[index];
        uint256 before = token.balanceOf(person(index));
        bytes32 root = chosen.nodes[0];
        bool mustPay = distributor.isAccepted(root) && amount > before;
        try distributor.claim(person(index), amount, root, _proof(chosen.nodes, index)) {
            require(mustPay, "paid although nothing was due");
            require(token.balanceOf(person(index)) == amount, "paid another amount");
        } catch {
            require(!mustPay, "not paid although due");
        }
    }
}

contract InvariantsTest is Base {
    Player private player;
    OpenToken private open;

    function setUp() public {
        player = new Player();
        open = player.openToken();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(player);
    }

    function invariant_claimed_is_within_cumulative_and_cumulative_within_funded() public view {
        CumulativeMerkleDistributor distributor = player.distributor();
        vm.assertLe(distributor.totalClaimed(), distributor.cumulativeTotal());
        vm.assertLe(distributor.cumulativeTotal(), distributor.funded());
        vm.assertEq(distributor.funded(), player.fundedFromEscrow());
    }

    function invariant_everybody_was_paid_what_the_contract_says_and_no_more_than_earned() public view {
        CumulativeMerkleDistributor distributor = player.distributor();
        uint256 sum;
        for (uint256 i = 0; i < player.PEOPLE(); i++) {
            address account = player.person(i);
            uint256 claimed = distributor.claimed(account);
            vm.assertEq(open.balanceOf(account), claimed);
            vm.assertLe(claimed, player.earnedWhenPublished(i));
            sum += claimed;
        }
        vm.assertEq(sum, distributor.totalClaimed());
    }

    function invariant_custody_is_what_came_in_less_what_went_out() public view {
        uint256 expected = player.deposited() - player.withdrawn() - player.fundedFromEscrow();
        vm.assertEq(open.balanceOf(address(player.escrow())), expected);
    }
}

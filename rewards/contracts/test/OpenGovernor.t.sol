// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {GovernanceTimelock} from "../src/GovernanceTimelock.sol";
import {OpenGovernor} from "../src/OpenGovernor.sol";
import {ProtocolParameters} from "../src/ProtocolParameters.sol";
import {Base} from "./Base.sol";
import {Epochs} from "./ProtocolParameters.t.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

contract OpenGovernorTest is Base {
    uint48 private constant DELAY = 1 days;
    uint32 private constant PERIOD = 1 weeks;
    uint256 private constant FLOOR = 500 * OPEN;
    uint256 private constant THRESHOLD = 10 * OPEN;
    uint256 private constant TIMELOCK_DELAY = 2 days;
    string private constant REASON = "Builders bring the users";

    GovernanceTimelock private timelock;
    OpenGovernor private governor;
    ProtocolParameters private parameters;

    /// @dev The holder has all 1,000 OPEN, delegated to itself.
    function setUp() public {
        _setUpToken();
        timelock = new GovernanceTimelock(TIMELOCK_DELAY, new address[](0), new address[](1), address(this));
        governor = new OpenGovernor(token, timelock, DELAY, PERIOD, THRESHOLD, 4, FLOOR);
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        ProtocolParameters.Values memory genesis = ProtocolParameters.Values(7_000, 2_000, 500, 500, 7 days, 1_000);
        parameters = new ProtocolParameters(address(timelock), new Epochs(), genesis);
        _delegate(holder);
        vm.warp(block.timestamp + 1);
    }

    function _delegate(address account) private {
        vm.prank(account);
        token.delegate(account);
    }

    function _give(address account, uint256 amount) private {
        vm.prank(holder);
        token.transfer(account, amount);
        _delegate(account);
    }

    function _action(address target, bytes memory data)
        private
        pure
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calldatas)
    {
        (targets, values, calldatas) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calldatas[0]) = (target, data);
    }

    function _split()
        private
        view
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calldatas)
    {
        return _action(address(parameters), abi.encodeCall(parameters.setFeeSplit, (6_000, 3_000, 500, 500)));
    }

    function _propose(address proposer) private returns (uint256 id) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        vm.prank(proposer);
        id = governor.propose(targets, values, calldatas, REASON);
        vm.warp(block.timestamp + DELAY + 1);
    }

    function _vote(address voter, uint256 id, uint8 support) private {
        vm.prank(voter);
        governor.castVote(id, support);
    }

    function _queue() private {
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        governor.queue(targets, values, calldatas, keccak256(bytes(REASON)));
    }

    function _execute() private {
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        governor.execute(targets, values, calldatas, keccak256(bytes(REASON)));
    }

    function _assertState(uint256 id, IGovernor.ProposalState expected) private view {
        vm.assertEq(uint256(governor.state(id)), uint256(expected));
    }

    function test_a_carried_proposal_changes_the_split_after_both_delays_and_not_before() public {
        uint256 id = _propose(holder);
        _assertState(id, IGovernor.ProposalState.Active);
        _vote(holder, id, 1);
        vm.warp(block.timestamp + PERIOD);
        _assertState(id, IGovernor.ProposalState.Succeeded);
        _queue();
        _assertState(id, IGovernor.ProposalState.Queued);
        vm.expectRevert();
        _execute();
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        vm.prank(STRANGER);
        _execute();
        _assertState(id, IGovernor.ProposalState.Executed);
        vm.assertEq(parameters.current().builderBps, 3_000);
        vm.expectRevert();
        _execute();
    }

    function test_the_quorum_is_the_floor_while_the_share_of_the_supply_is_less() public {
        vm.assertEq(governor.quorum(block.timestamp - 1), FLOOR);
        vm.prank(OPERATOR);
        token.mint(PAYEE, 99_000 * OPEN);
        vm.warp(block.timestamp + 1);
        vm.assertEq(governor.quorum(block.timestamp - 1), 4_000 * OPEN);
    }

    function test_votes_above_the_share_but_below_the_floor_change_nothing() public {
        _give(PAYEE, 499 * OPEN);
        vm.warp(block.timestamp + 1);
        uint256 id = _propose(holder);
        _vote(PAYEE, id, 1);
        vm.warp(block.timestamp + PERIOD);
        _assertState(id, IGovernor.ProposalState.Defeated);
        vm.expectRevert();
        _queue();
    }

    function test_a_vote_cannot_take_the_quorum_below_the_floor() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) =
            _action(address(governor), abi.encodeCall(governor.updateQuorumNumerator, (0)));
        vm.prank(holder);
        uint256 id = governor.propose(targets, values, calldatas, REASON);
        vm.warp(block.timestamp + DELAY + 1);
        _vote(holder, id, 1);
        vm.warp(block.timestamp + PERIOD);
        governor.queue(targets, values, calldatas, keccak256(bytes(REASON)));
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        governor.execute(targets, values, calldatas, keccak256(bytes(REASON)));
        vm.warp(block.timestamp + 1);
        vm.assertEq(governor.quorumNumerator(), 0);
        vm.assertEq(governor.quorum(block.timestamp - 1), FLOOR);
    }

    function test_more_against_than_for_defeats_and_an_abstention_counts_for_the_quorum_only() public {
        _give(PAYEE, 450 * OPEN);
        vm.warp(block.timestamp + 1);
        uint256 id = _propose(holder);
        _vote(holder, id, 2);
        _vote(PAYEE, id, 1);
        vm.warp(block.timestamp + PERIOD);
        _assertState(id, IGovernor.ProposalState.Succeeded);
    }

    function test_open_that_arrives_after_the_vote_began_counts_nothing() public {
        uint256 id = _propose(holder);
        _give(PAYEE, 900 * OPEN);
        vm.warp(block.timestamp + 1);
        _vote(PAYEE, id, 1);
        (, uint256 forVotes, ) = governor.proposalVotes(id);
        vm.assertEq(forVotes, 0);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorAlreadyCastVote.selector, PAYEE));
        _vote(PAYEE, id, 1);
    }

    function test_undelegated_open_cannot_propose() public {
        vm.prank(holder);
        token.transfer(PAYEE, THRESHOLD);
        vm.warp(block.timestamp + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        vm.prank(PAYEE);
        vm.expectRevert(
            abi.encodeWithSelector(IGovernor.GovernorInsufficientProposerVotes.selector, PAYEE, 0, THRESHOLD)
        );
        governor.propose(targets, values, calldatas, REASON);
    }

    function test_nobody_goes_around_the_vote() public {
        (address[] memory targets, , bytes[] memory calldatas) = _split();
        bytes32 role = timelock.PROPOSER_ROLE();
        bytes memory refusal =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, address(this), role);
        vm.expectRevert(refusal);
        timelock.schedule(targets[0], 0, calldatas[0], 0, 0, TIMELOCK_DELAY);
        vm.expectRevert();
        timelock.grantRole(role, address(this));
        vm.expectRevert();
        timelock.updateDelay(0);
    }

    function test_only_a_vote_sends_the_treasury() public {
        vm.prank(holder);
        token.transfer(address(timelock), 100 * OPEN);
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) =
            _action(address(token), abi.encodeCall(token.transfer, (PAYEE, 40 * OPEN)));
        vm.prank(holder);
        uint256 id = governor.propose(targets, values, calldatas, REASON);
        vm.warp(block.timestamp + DELAY + 1);
        _vote(holder, id, 1);
        vm.warp(block.timestamp + PERIOD);
        governor.queue(targets, values, calldatas, keccak256(bytes(REASON)));
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        governor.execute(targets, values, calldatas, keccak256(bytes(REASON)));
        vm.assertEq(token.balanceOf(PAYEE), 40 * OPEN);
        vm.assertEq(token.balanceOf(address(timelock)), 60 * OPEN);
    }

    function test_the_proposer_can_take_a_proposal_back_before_its_vote() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        vm.startPrank(holder);
        uint256 id = governor.propose(targets, values, calldatas, REASON);
        governor.cancel(targets, values, calldatas, keccak256(bytes(REASON)));
        _assertState(id, IGovernor.ProposalState.Canceled);
    }

    function test_a_governor_without_a_floor_is_refused() public {
        vm.expectRevert(OpenGovernor.QuorumFloorMissing.selector);
        new OpenGovernor(token, TimelockController(payable(address(timelock))), DELAY, PERIOD, THRESHOLD, 4, 0);
    }

    function testFuzz_the_quorum_is_never_below_the_floor_nor_below_the_share(uint256 minted) public {
        minted = _bound(minted, 1, CAP - 1_000 * OPEN);
        vm.prank(OPERATOR);
        token.mint(PAYEE, minted);
        vm.warp(block.timestamp + 1);
        uint256 quorum = governor.quorum(block.timestamp - 1);
        vm.assertLe(FLOOR, quorum);
        vm.assertLe(token.totalSupply() * 4 / 100, quorum);
    }

    function testFuzz_a_vote_carries_exactly_when_more_are_for_and_the_quorum_is_met(uint256 yes, uint256 no) public {
        yes = _bound(yes, 0, 1_000) * OPEN;
        no = _bound(no, 0, 1_000 * OPEN - yes);
        uint256 id;
        _give(PAYEE, yes);
        _give(STRANGER, no);
        vm.warp(block.timestamp + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calldatas) = _split();
        address proposer = yes >= THRESHOLD ? PAYEE : no >= THRESHOLD ? STRANGER : holder;
        vm.prank(proposer);
        id = governor.propose(targets, values, calldatas, REASON);
        vm.warp(block.timestamp + DELAY + 1);
        _vote(PAYEE, id, 1);
        _vote(STRANGER, id, 0);
        vm.warp(block.timestamp + PERIOD);
        bool carries = yes > no && yes >= FLOOR;
        _assertState(id, carries ? IGovernor.ProposalState.Succeeded : IGovernor.ProposalState.Defeated);
    }

    function test_gas_of_a_proposal() public {
        _vote(holder, _propose(holder), 1);
        vm.snapshotGasLastCall("OpenGovernor", "vote");
        vm.warp(block.timestamp + PERIOD);
        _queue();
        vm.snapshotGasLastCall("OpenGovernor", "queue");
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        _execute();
        vm.snapshotGasLastCall("OpenGovernor", "execute a fee split");
    }
}

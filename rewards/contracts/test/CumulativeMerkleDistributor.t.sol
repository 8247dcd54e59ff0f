// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CumulativeMerkleDistributor} from "../src/CumulativeMerkleDistributor.sol";
import {Base} from "./Base.sol";
import {ReentrantToken} from "./Hostile.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

contract CumulativeMerkleDistributorTest is Base {
    uint64 private constant DELAY = 1 days;
    bytes32 private constant FILE = keccak256("leaf file");
    bytes32[] private NO_PROOF;

    CumulativeMerkleDistributor private distributor;

    function setUp() public {
        _setUpToken();
        distributor = _distributorOf(token);
        vm.prank(holder);
        token.transfer(address(distributor), 100 * OPEN);
    }

    function _distributorOf(IERC20 token_) private returns (CumulativeMerkleDistributor created) {
        created = new CumulativeMerkleDistributor(ADMIN, 1 days, token_, DELAY);
        vm.startPrank(ADMIN);
        created.grantRole(created.PROPOSER_ROLE(), OPERATOR);
        created.grantRole(created.GUARDIAN_ROLE(), GUARDIAN);
        vm.stopPrank();
    }

    function _propose(bytes32 root, uint256 total, uint64 epoch) private {
        vm.prank(OPERATOR);
        distributor.propose(root, total, FILE, epoch);
    }

    function _activate(bytes32 root, uint256 total, uint64 epoch) private {
        _propose(root, total, epoch);
        vm.warp(block.timestamp + DELAY);
        distributor.activate(root);
    }

    /// @dev A tree with one leaf has that leaf as its root. Computed here, since a call to the contract would
    /// count as the one that `expectRevert` waits for.
    function _single(uint256 amount) private view returns (bytes32) {
        bytes32 inner = keccak256(abi.encode(block.chainid, address(distributor), PAYEE, amount));
        return keccak256(abi.encode(inner));
    }

    function _refused(bytes4 selector, bytes memory arguments) private {
        vm.expectRevert(bytes.concat(selector, arguments));
    }

    function test_a_leaf_is_the_double_hash_of_chain_contract_account_and_amount() public view {
        vm.assertEq(distributor.leafOf(PAYEE, OPEN), _single(OPEN));
    }

    function test_a_root_can_be_claimed_after_the_delay_and_not_before() public {
        bytes32 root = _single(OPEN);
        _propose(root, OPEN, 1);
        uint256 end = block.timestamp + DELAY;
        vm.warp(end - 1);
        _refused(CumulativeMerkleDistributor.ChallengeDelayRunning.selector, abi.encode(end));
        distributor.activate(root);
        _refused(CumulativeMerkleDistributor.RootNotAccepted.selector, abi.encode(root));
        distributor.claim(PAYEE, OPEN, root, NO_PROOF);
        vm.warp(end);
        vm.prank(STRANGER);
        distributor.activate(root);
        distributor.claim(PAYEE, OPEN, root, NO_PROOF);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
    }

    function test_a_proposal_is_announced_with_all_that_is_needed_to_check_it() public {
        bytes32 root = _single(OPEN);
        vm.expectEmit();
        emit CumulativeMerkleDistributor.RootProposed(root, 7, OPEN, FILE, block.timestamp + DELAY);
        _propose(root, OPEN, 7);
        vm.warp(block.timestamp + DELAY);
        vm.expectEmit();
        emit CumulativeMerkleDistributor.RootActivated(root, 7, OPEN, FILE);
        distributor.activate(root);
        vm.assertEq(distributor.currentEpoch(), 7);
    }

    function test_only_a_proposer_proposes_and_only_one_at_a_time() public {
        bytes32 root = _single(OPEN);
        vm.prank(ADMIN);
        vm.expectRevert();
        distributor.propose(root, OPEN, FILE, 1);
        _propose(root, OPEN, 1);
        _refused(CumulativeMerkleDistributor.ProposalPending.selector, abi.encode(root));
        _propose(_single(2 * OPEN), 2 * OPEN, 2);
    }

    function test_an_empty_root_or_an_old_epoch_is_refused() public {
        _activate(_single(OPEN), OPEN, 3);
        _refused(CumulativeMerkleDistributor.InvalidProposal.selector, "");
        _propose(0, OPEN, 4);
        _refused(CumulativeMerkleDistributor.InvalidProposal.selector, "");
        _propose(_single(2 * OPEN), 2 * OPEN, 3);
    }

    function test_a_total_above_the_funds_is_refused_and_what_was_paid_still_counts() public {
        uint256 funds = 100 * OPEN;
        _refused(CumulativeMerkleDistributor.TotalNotFunded.selector, abi.encode(funds + 1, funds));
        _propose(_single(funds + 1), funds + 1, 1);
        _activate(_single(funds), funds, 1);
        distributor.claim(PAYEE, funds, _single(funds), NO_PROOF);
        vm.assertEq(distributor.funded(), funds);
    }

    function test_a_total_that_falls_is_refused() public {
        _activate(_single(2 * OPEN), 2 * OPEN, 1);
        _refused(CumulativeMerkleDistributor.TotalDecreased.selector, abi.encode(OPEN, 2 * OPEN));
        _propose(_single(OPEN), OPEN, 2);
    }

    function test_a_guardian_vetoes_and_the_root_never_becomes_claimable() public {
        bytes32 root = _single(OPEN);
        _propose(root, OPEN, 1);
        vm.prank(GUARDIAN);
        distributor.veto(root);
        vm.warp(block.timestamp + DELAY);
        _refused(CumulativeMerkleDistributor.ProposalUnknown.selector, abi.encode(root));
        distributor.activate(root);
        _activate(_single(2 * OPEN), 2 * OPEN, 1); // the epoch can be proposed again
    }

    function test_a_proposer_takes_back_its_proposal_and_a_stranger_does_not() public {
        bytes32 root = _single(OPEN);
        _propose(root, OPEN, 1);
        vm.prank(STRANGER);
        vm.expectRevert();
        distributor.veto(root);
        vm.prank(OPERATOR);
        distributor.veto(root);
    }

    function test_a_veto_or_activation_of_another_root_than_the_waiting_one_is_refused() public {
        _propose(_single(OPEN), OPEN, 1);
        bytes32 other = _single(2 * OPEN);
        vm.prank(GUARDIAN);
        _refused(CumulativeMerkleDistributor.ProposalUnknown.selector, abi.encode(other));
        distributor.veto(other);
        vm.warp(block.timestamp + DELAY);
        _refused(CumulativeMerkleDistributor.ProposalUnknown.selector, abi.encode(other));
        distributor.activate(other);
    }

    function test_whoever_calls_the_account_is_paid() public {
        _activate(_single(OPEN), OPEN, 1);
        vm.expectEmit();
        emit CumulativeMerkleDistributor.Claimed(PAYEE, OPEN, OPEN, _single(OPEN));
        vm.prank(STRANGER);
        distributor.claim(PAYEE, OPEN, _single(OPEN), NO_PROOF);
        vm.assertEq(token.balanceOf(PAYEE), OPEN);
        vm.assertEq(token.balanceOf(STRANGER), 0);
    }

    function test_a_second_claim_pays_nothing_and_a_new_root_pays_the_difference() public {
        _activate(_single(OPEN), OPEN, 1);
        distributor.claim(PAYEE, OPEN, _single(OPEN), NO_PROOF);
        _refused(CumulativeMerkleDistributor.NothingToClaim.selector, abi.encode(PAYEE, OPEN));
        distributor.claim(PAYEE, OPEN, _single(OPEN), NO_PROOF);
        _activate(_single(3 * OPEN), 3 * OPEN, 2);
        distributor.claim(PAYEE, 3 * OPEN, _single(3 * OPEN), NO_PROOF);
        vm.assertEq(token.balanceOf(PAYEE), 3 * OPEN);
        _refused(CumulativeMerkleDistributor.NothingToClaim.selector, abi.encode(PAYEE, 3 * OPEN));
        distributor.claim(PAYEE, OPEN, _single(OPEN), NO_PROOF); // the old root pays no second time
    }

    function test_the_last_four_roots_are_accepted_and_the_fifth_is_not() public {
        for (uint64 epoch = 1; epoch <= 4; epoch++) _activate(_single(epoch * OPEN), epoch * OPEN, epoch);
        vm.assertTrue(distributor.isAccepted(_single(OPEN)));
        _activate(_single(5 * OPEN), 5 * OPEN, 5);
        vm.assertFalse(distributor.isAccepted(_single(OPEN)));
        vm.assertTrue(distributor.isAccepted(_single(2 * OPEN)));
        _refused(CumulativeMerkleDistributor.RootNotAccepted.selector, abi.encode(_single(OPEN)));
        distributor.claim(PAYEE, OPEN, _single(OPEN), NO_PROOF);
        distributor.claim(PAYEE, 2 * OPEN, _single(2 * OPEN), NO_PROOF);
    }

    function test_a_revoked_root_pays_nothing() public {
        bytes32 root = _single(OPEN);
        _activate(root, OPEN, 1);
        vm.prank(OPERATOR);
        vm.expectRevert();
        distributor.revoke(root);
        vm.prank(GUARDIAN);
        distributor.revoke(root);
        _refused(CumulativeMerkleDistributor.RootNotAccepted.selector, abi.encode(root));
        distributor.claim(PAYEE, OPEN, root, NO_PROOF);
    }

    function test_leaves_that_add_up_to_more_than_the_total_are_not_paid_beyond_it() public {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = distributor.leafOf(PAYEE, 10 * OPEN);
        leaves[1] = distributor.leafOf(STRANGER, 10 * OPEN);
        bytes32[] memory nodes = _tree(leaves);
        _activate(nodes[0], 15 * OPEN, 1);
        distributor.claim(PAYEE, 10 * OPEN, nodes[0], _proof(nodes, 0));
        _refused(CumulativeMerkleDistributor.TotalExceeded.selector, abi.encode(20 * OPEN, 15 * OPEN));
        distributor.claim(STRANGER, 10 * OPEN, nodes[0], _proof(nodes, 1));
    }

    function test_a_leaf_is_worth_nothing_on_another_chain_or_contract() public {
        bytes32 root = _single(OPEN);
        _activate(root, OPEN, 1);
        vm.chainId(1);
        _refused(CumulativeMerkleDistributor.InvalidProof.selector, "");
        distributor.claim(PAYEE, OPEN, root, NO_PROOF);
        CumulativeMerkleDistributor other = _distributorOf(token);
        vm.assertTrue(other.leafOf(PAYEE, OPEN) != _single(OPEN));
    }

    function test_an_inner_node_is_not_a_leaf() public {
        bytes32[] memory leaves = new bytes32[](4);
        for (uint160 i = 0; i < 4; i++) leaves[i] = distributor.leafOf(address(0xF00 + i), OPEN);
        bytes32[] memory nodes = _tree(leaves);
        _activate(nodes[0], 4 * OPEN, 1);
        // The parent's two children read as (account, amount) would need a 128-byte preimage, hashed twice.
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = nodes[2];
        _refused(CumulativeMerkleDistributor.InvalidProof.selector, "");
        distributor.claim(address(uint160(uint256(nodes[3]))), uint256(nodes[4]), nodes[0], proof);
    }

    function test_a_token_that_calls_back_claims_nothing_in_between() public {
        ReentrantToken again = new ReentrantToken();
        distributor = _distributorOf(again);
        again.mint(address(distributor), 10 * OPEN);
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = distributor.leafOf(PAYEE, OPEN);
        leaves[1] = distributor.leafOf(STRANGER, OPEN);
        bytes32[] memory nodes = _tree(leaves);
        _activate(nodes[0], 10 * OPEN, 1);
        bytes32[] memory other = _proof(nodes, 1);
        again.arm(address(distributor), abi.encodeCall(distributor.claim, (STRANGER, OPEN, nodes[0], other)));
        distributor.claim(PAYEE, OPEN, nodes[0], _proof(nodes, 0));
        vm.assertFalse(again.hasEntered());
        vm.assertEq(distributor.totalClaimed(), OPEN);
    }

    function testFuzz_every_leaf_is_paid_its_amount_and_no_other(
        uint96[7] calldata amounts,
        uint256 chosen,
        uint256 other
    ) public {
        bytes32[] memory leaves = new bytes32[](7);
        for (uint160 i = 0; i < 7; i++) leaves[i] = distributor.leafOf(address(0xF00 + i), _amount(amounts[i]));
        bytes32[] memory nodes = _tree(leaves);
        _activate(nodes[0], 100 * OPEN, 1);
        uint256 index = chosen % 7;
        address account = address(uint160(0xF00 + index));
        uint256 amount = _amount(amounts[index]);
        bytes32[] memory proof = _proof(nodes, index);
        vm.assume(other != amount);
        _refused(CumulativeMerkleDistributor.InvalidProof.selector, "");
        distributor.claim(account, other, nodes[0], proof);
        distributor.claim(account, amount, nodes[0], proof);
        vm.assertEq(token.balanceOf(account), amount);
    }

    function _amount(uint96 seed) private pure returns (uint256) {
        return _bound(seed, 1, 14 * OPEN);
    }

    /// @dev A root over a random path of `depth` siblings costs a claim what a tree of 2^depth leaves costs.
    function _deepClaim(uint256 depth, uint256 amount, uint64 epoch, string memory name) private {
        bytes32[] memory proof = new bytes32[](depth);
        bytes32 node = distributor.leafOf(PAYEE, amount);
        for (uint256 i = 0; i < depth; i++) {
            proof[i] = keccak256(abi.encode(epoch, i));
            node = Hashes.commutativeKeccak256(node, proof[i]);
        }
        _activate(node, amount, epoch);
        distributor.claim(PAYEE, amount, node, proof);
        vm.snapshotGasLastCall("CumulativeMerkleDistributor", name);
    }

    function test_gas_of_claims() public {
        _deepClaim(10, OPEN, 1, "claim, 2^10 leaves, first");
        _deepClaim(10, 2 * OPEN, 2, "claim, 2^10 leaves, again");
        _deepClaim(17, 3 * OPEN, 3, "claim, 2^17 leaves, again");
        _deepClaim(20, 4 * OPEN, 4, "claim, 2^20 leaves, again");
    }

    function test_gas_of_an_epoch() public {
        _activate(_single(OPEN), OPEN, 1);
        _propose(_single(2 * OPEN), 2 * OPEN, 2);
        vm.snapshotGasLastCall("CumulativeMerkleDistributor", "propose");
        vm.warp(block.timestamp + DELAY);
        distributor.activate(_single(2 * OPEN));
        vm.snapshotGasLastCall("CumulativeMerkleDistributor", "activate");
    }
}

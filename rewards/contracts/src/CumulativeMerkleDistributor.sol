// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/**
 * @title Payouts: one Merkle root pays any number of people
 * @notice A leaf states all that an account has ever earned. The contract pays the difference to what the
 * account has already claimed, so no sequence of roots can pay the same earning twice.
 *
 * A root goes propose -> challenge delay -> activate. Within the delay anyone can recompute it from the
 * published leaf file, and a guardian can veto it. The last {ACCEPTED_ROOTS} activated roots stay
 * claimable, so that a new epoch does not break a claim that is on its way.
 *
 * @dev Leaf: keccak256(keccak256(abi.encode(chainId, distributor, account, cumulativeAmount))), the
 * standard tree of OpenZeppelin's merkle-tree library. Chain and contract in the leaf stop replay elsewhere;
 * hashing twice stops an inner node from being passed off as a leaf. Single proofs only (CVE-2023-34459 was
 * in multiproofs).
 */
contract CumulativeMerkleDistributor is AccessControlDefaultAdminRules, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @notice A root waiting for its challenge delay.
    struct Proposal {
        bytes32 root;
        bytes32 leafFileHash;
        uint96 total;
        uint64 epoch;
        uint64 activatableAt;
    }

    /// @dev All that a claim reads and writes of the whole, in one slot. 96 bits hold 79 billion tokens of 18 decimals.
    struct Books {
        uint96 cumulativeTotal;
        uint96 totalClaimed;
        uint64 activations;
    }

    /// @notice May propose roots, and take back an own proposal.
    bytes32 public constant PROPOSER_ROLE = keccak256("PROPOSER_ROLE");
    /// @notice May veto a proposal and revoke an activated root.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    /// @notice How many of the newest activated roots can be claimed against.
    uint256 public constant ACCEPTED_ROOTS = 4;

    /// @notice The token paid out.
    IERC20 public immutable token;
    /// @notice Seconds between proposal and activation.
    uint64 public immutable challengeDelay;

    /// @notice The waiting proposal; `activatableAt` is 0 when there is none.
    Proposal public proposal;
    /// @notice The newest activated root.
    bytes32 public currentRoot;
    /// @notice Epoch of the newest activated root; epochs count up from 1, gaps allowed.
    uint64 public currentEpoch;
    Books private _books;
    /// @notice Paid out so far to each account, in wei.
    mapping(address account => uint256 amount) public claimed;
    /// @dev Which activation made this root claimable, counted from 1; 0 when never or revoked.
    mapping(bytes32 root => uint64 activation) private _activationOf;

    event RootProposed(
        bytes32 indexed root,
        uint64 indexed epoch,
        uint256 total,
        bytes32 leafFileHash,
        uint256 activatableAt
    );
    event RootVetoed(bytes32 indexed root, uint64 indexed epoch, address indexed by);
    event RootActivated(bytes32 indexed root, uint64 indexed epoch, uint256 total, bytes32 leafFileHash);
    event RootRevoked(bytes32 indexed root, address indexed by);
    event Claimed(address indexed account, uint256 amount, uint256 cumulativeAmount, bytes32 indexed root);

    /// @dev Another proposal is waiting.
    error ProposalPending(bytes32 root);
    /// @dev No proposal is waiting, or it is another one than the caller means.
    error ProposalUnknown(bytes32 root);
    /// @dev The challenge delay is not over.
    error ChallengeDelayRunning(uint256 activatableAt);
    /// @dev Empty root, or an epoch that is not after the current one.
    error InvalidProposal();
    /// @dev The cumulative total may not fall.
    error TotalDecreased(uint256 total, uint256 cumulativeTotal);
    /// @dev The contract was given less than the total.
    error TotalNotFunded(uint256 total, uint256 funded);
    /// @dev Not among the last accepted roots.
    error RootNotAccepted(bytes32 root);
    /// @dev The proof does not lead from this account and amount to the root.
    error InvalidProof();
    /// @dev Everything under this leaf is paid already.
    error NothingToClaim(address account, uint256 alreadyClaimed);
    /// @dev The leaves of this root add up to more than the total it was activated with.
    error TotalExceeded(uint256 claimedAfter, uint256 cumulativeTotal);

    /**
     * @param token_ the token paid out
     * @param challengeDelay_ seconds between proposal and activation; 0 is for tests
     */
    constructor(
        address admin,
        uint48 adminDelay,
        IERC20 token_,
        uint64 challengeDelay_
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        token = token_;
        challengeDelay = challengeDelay_;
    }

    /**
     * @notice Proposes the root of an epoch.
     * @param root root over (chain, this contract, account, cumulative amount) leaves
     * @param total sum of all cumulative amounts, in wei; not below the last total, not above {funded}, under 2^96
     * @param leafFileHash sha-256 of the published leaf file
     * @param epoch number of the payout period, above the last one
     */
    function propose(
        bytes32 root,
        uint256 total,
        bytes32 leafFileHash,
        uint64 epoch
    ) external onlyRole(PROPOSER_ROLE) {
        require(proposal.activatableAt == 0, ProposalPending(proposal.root));
        require(root != 0 && epoch > currentEpoch, InvalidProposal());
        // Checked once: until activation {funded} cannot fall and {cumulativeTotal} cannot change.
        require(total >= _books.cumulativeTotal, TotalDecreased(total, _books.cumulativeTotal));
        require(total <= funded(), TotalNotFunded(total, funded()));
        uint64 activatableAt = uint64(block.timestamp) + challengeDelay;
        proposal = Proposal(root, leafFileHash, total.toUint96(), epoch, activatableAt);
        emit RootProposed(root, epoch, total, leafFileHash, activatableAt);
    }

    /// @notice Drops the waiting proposal. The guardian's veto; the proposer may also take back its own.
    function veto(bytes32 root) external {
        if (!hasRole(PROPOSER_ROLE, _msgSender())) _checkRole(GUARDIAN_ROLE);
        Proposal memory waiting = _waiting(root);
        delete proposal;
        emit RootVetoed(root, waiting.epoch, _msgSender());
    }

    /// @notice Makes the waiting proposal claimable once its delay is over. Anyone may call.
    function activate(bytes32 root) external {
        Proposal memory waiting = _waiting(root);
        require(block.timestamp >= waiting.activatableAt, ChallengeDelayRunning(waiting.activatableAt));
        delete proposal;
        currentRoot = root;
        currentEpoch = waiting.epoch;
        Books memory books = _books;
        books.cumulativeTotal = waiting.total;
        books.activations += 1;
        _books = books;
        _activationOf[root] = books.activations;
        emit RootActivated(root, waiting.epoch, waiting.total, waiting.leafFileHash);
    }

    /// @notice Stops claims against an activated root that turned out wrong. Nothing paid is taken back.
    function revoke(bytes32 root) external onlyRole(GUARDIAN_ROLE) {
        require(isAccepted(root), RootNotAccepted(root));
        delete _activationOf[root];
        emit RootRevoked(root, _msgSender());
    }

    /**
     * @notice Pays `account` what it has earned and not yet claimed. Anyone may call; the money always goes
     * to `account`.
     * @param cumulativeAmount all that `account` ever earned, in wei, as stated in the leaf
     * @param root the accepted root that `proof` leads to
     * @param proof sibling hashes from the leaf upwards
     */
    function claim(
        address account,
        uint256 cumulativeAmount,
        bytes32 root,
        bytes32[] calldata proof
    ) external nonReentrant {
        Books memory books = _books;
        require(_isAccepted(root, books.activations), RootNotAccepted(root));
        require(MerkleProof.verifyCalldata(proof, root, leafOf(account, cumulativeAmount)), InvalidProof());
        uint256 alreadyClaimed = claimed[account];
        require(cumulativeAmount > alreadyClaimed, NothingToClaim(account, alreadyClaimed));
        uint256 amount = cumulativeAmount - alreadyClaimed;
        uint256 claimedAfter = books.totalClaimed + amount;
        require(claimedAfter <= books.cumulativeTotal, TotalExceeded(claimedAfter, books.cumulativeTotal));
        claimed[account] = cumulativeAmount;
        books.totalClaimed = uint96(claimedAfter); // not above a total of 96 bits
        _books = books;
        emit Claimed(account, amount, cumulativeAmount, root);
        token.safeTransfer(account, amount);
    }

    /// @notice Whether `root` is one of the last {ACCEPTED_ROOTS} activated ones and not revoked.
    function isAccepted(bytes32 root) public view returns (bool) {
        return _isAccepted(root, _books.activations);
    }

    /// @notice Most that may ever have been claimed, in wei: the total of the newest activated root.
    function cumulativeTotal() external view returns (uint256) {
        return _books.cumulativeTotal;
    }

    /// @notice Paid out so far, in wei.
    function totalClaimed() external view returns (uint256) {
        return _books.totalClaimed;
    }

    /// @notice Number of activations so far.
    function activations() external view returns (uint64) {
        return _books.activations;
    }

    /// @notice All OPEN this contract was ever given, in wei: what it holds and what it has paid.
    function funded() public view returns (uint256) {
        return _books.totalClaimed + token.balanceOf(address(this));
    }

    /// @notice The Merkle leaf of `account` with `cumulativeAmount` wei.
    function leafOf(address account, uint256 cumulativeAmount) public view returns (bytes32) {
        return keccak256(
            bytes.concat(keccak256(abi.encode(block.chainid, address(this), account, cumulativeAmount)))
        );
    }

    function _isAccepted(bytes32 root, uint64 newest) private view returns (bool) {
        uint64 activation = _activationOf[root];
        return activation != 0 && activation + ACCEPTED_ROOTS > newest;
    }

    function _waiting(bytes32 root) private view returns (Proposal memory waiting) {
        waiting = proposal;
        // 0 says that none waits, and a root is equal or another; no time is compared.
        // slither-disable-next-line incorrect-equality
        require(waiting.activatableAt != 0 && waiting.root == root, ProposalUnknown(root));
    }
}

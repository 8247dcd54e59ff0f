// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @dev What is asked of the governed numbers.
interface ISlashingCap {
    function slashingCapBps() external view returns (uint16);
}

/**
 * @title OPEN behind a Datanet, a contribution or an agent
 * @notice Whoever believes in a target stakes OPEN on it. The stake earns a part of the fees that the target really
 * took in, and a proven fault can cost a part of it. There is no emission: what is paid out was paid in before.
 *
 * A stake is never locked by a date. To leave, its owner starts an unbonding and takes it out after the delay; adding
 * to a stake changes nothing about an unbonding that runs. Unbonding stake earns nothing and can still be slashed,
 * for a fault is often found later than it is made.
 *
 * A slash takes at most the governed cap. It is announced with the hash of its evidence and waits out the appeal
 * window, in which an arbiter can overturn it. While one waits, nobody enters or leaves that target.
 *
 * @dev A target has two pools (bonded, unbonding) with shares, so that a slash touches two numbers whatever the number
 * of stakers. Money is counted inside: OPEN sent here directly changes no share.
 */
contract OpenStaking is AccessControlDefaultAdminRules, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Stake in wei, and the shares that it is divided into.
    struct Pool {
        uint256 amount;
        uint256 shares;
    }

    /// @notice What one account has bonded on one target. `incomeIndex` is the target's when it was last settled.
    struct Position {
        uint256 shares;
        uint256 incomeIndex;
        uint256 incomeOwed;
    }

    /// @notice One stake on its way out.
    struct Unbonding {
        address owner;
        uint64 releasableAt;
        bytes32 target;
        uint256 shares;
    }

    /// @notice A slash in its appeal window; `executableAt` is 0 when none waits.
    struct Slash {
        uint256 amount;
        bytes32 evidence;
        uint64 executableAt;
    }

    /// @notice May announce a slash that a dispute decided.
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");
    /// @notice Decides appeals: may overturn a slash that waits.
    bytes32 public constant ARBITER_ROLE = keccak256("ARBITER_ROLE");
    /// @notice The least that can be staked at once; keeps rounding out of reach.
    uint256 public constant STAKE_MIN = 1e18;
    /// @dev Income a share is counted in this fraction of a wei.
    uint256 private constant INDEX_SCALE = 1e36;
    uint256 private constant WHOLE_BPS = 10_000;

    /// @notice The token staked and paid out.
    IERC20 public immutable token;
    /// @notice Where the cap of a slash is decided.
    ISlashingCap public immutable parameters;
    /// @notice Gets what is slashed: the treasury.
    address public immutable treasury;
    /// @notice Seconds from the start of an unbonding until the stake can be taken out.
    uint64 public immutable unbondingSeconds;
    /// @notice Seconds from the announcement of a slash until it can be carried out.
    uint64 public immutable appealSeconds;

    /// @notice Stake of all targets that is bonded or unbonding, in wei.
    uint256 public totalStaked;
    /// @notice Income paid in and not yet paid out, in wei.
    uint256 public totalIncome;
    /// @notice Number of unbondings so far; the last unbonding id.
    uint256 public unbondingCount;

    mapping(bytes32 target => Pool) public bonded;
    mapping(bytes32 target => Pool) public unbonding;
    /// @notice Income a bonded share ever got, scaled.
    mapping(bytes32 target => uint256) public incomeIndex;
    mapping(bytes32 target => mapping(address account => Position)) public positions;
    mapping(uint256 id => Unbonding) public unbondings;
    mapping(bytes32 target => Slash) public slashes;

    event Staked(bytes32 indexed target, address indexed account, uint256 amount, uint256 shares);
    event UnbondingStarted(
        bytes32 indexed target,
        address indexed account,
        uint256 indexed id,
        uint256 amount,
        uint256 releasableAt
    );
    event Withdrawn(bytes32 indexed target, address indexed account, uint256 indexed id, uint256 amount);
    event IncomeAdded(bytes32 indexed target, address indexed from, uint256 amount);
    event IncomePaid(bytes32 indexed target, address indexed account, uint256 amount);
    event SlashAnnounced(bytes32 indexed target, bytes32 indexed evidence, uint256 amount, uint256 executableAt);
    event SlashOverturned(bytes32 indexed target, bytes32 indexed evidence, address indexed by);
    event Slashed(bytes32 indexed target, bytes32 indexed evidence, uint256 amount);

    /// @dev Less than {STAKE_MIN}.
    error StakeTooSmall(uint256 amount);
    /// @dev An amount of zero, or one that rounds to it.
    error NothingToMove();
    /// @dev More shares than the account has bonded.
    error NotEnoughStake(uint256 shares);
    /// @dev There is no such unbonding of the caller.
    error UnbondingUnknown(uint256 id);
    /// @dev The unbonding delay is not over.
    error UnbondingRuns(uint256 releasableAt);
    /// @dev Nobody has stake there, so nobody could get the income.
    error NobodyStaked(bytes32 target);
    /// @dev A slash waits: nobody enters or leaves, and no other slash is announced.
    error SlashWaits(bytes32 target);
    /// @dev No slash waits.
    error NoSlash(bytes32 target);
    /// @dev The appeal window is open.
    error AppealWindowOpen(uint256 executableAt);
    /// @dev The appeal window is over.
    error AppealWindowOver(uint256 executableAt);
    /// @dev More than the governed cap of the target's stake.
    error SlashAboveCap(uint256 amount, uint256 cap);
    /// @dev Evidence is the hash of a decided dispute.
    error EvidenceMissing();
    /// @dev What is slashed must go somewhere.
    error TreasuryMissing();
    /// @dev An exit must take longer than an appeal.
    error UnbondingTooShort();

    /**
     * @param admin the one account that grants roles
     * @param adminDelay seconds between the two steps of a hand-over
     * @param token_ OPEN
     * @param parameters_ the governed numbers
     * @param treasury_ gets what is slashed
     * @param unbondingSeconds_ delay of an exit; longer than the appeal window
     * @param appealSeconds_ how long a slash can be overturned
     */
    constructor(
        address admin,
        uint48 adminDelay,
        IERC20 token_,
        ISlashingCap parameters_,
        address treasury_,
        uint64 unbondingSeconds_,
        uint64 appealSeconds_
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        require(treasury_ != address(0), TreasuryMissing());
        require(unbondingSeconds_ > appealSeconds_, UnbondingTooShort());
        token = token_;
        parameters = parameters_;
        treasury = treasury_;
        unbondingSeconds = unbondingSeconds_;
        appealSeconds = appealSeconds_;
    }

    /// @notice Stakes `amount` wei of the caller, who has approved it before, on `target`. Adding re-locks nothing.
    function stake(bytes32 target, uint256 amount) external nonReentrant {
        _stake(target, _msgSender(), amount);
        token.safeTransferFrom(_msgSender(), address(this), amount);
    }

    /**
     * @notice As {stake}, with an approval by signature, in one transaction.
     * @dev Anyone can send a seen permit first; the permit then fails although the approval is there. So its
     * failure is ignored, and the transfer decides.
     */
    function stakeWithPermit(
        bytes32 target,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _stake(target, _msgSender(), amount);
        try IERC20Permit(address(token)).permit(_msgSender(), address(this), amount, deadline, v, r, s) {} catch {}
        token.safeTransferFrom(_msgSender(), address(this), amount);
    }

    /**
     * @notice Stakes `amount` wei of `account` on `target` by its signature (ERC-3009 receiveWithAuthorization to this
     * contract, with {stakeNonce} as its nonce). Anyone may send it, and nobody can turn it to another target.
     * @param salt 32 random bytes of the signer; a target and a salt work once
     */
    function stakeWithAuthorization(
        address account,
        bytes32 target,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _stake(target, account, amount);
        IERC3009(address(token)).receiveWithAuthorization(
            account,
            address(this),
            amount,
            validAfter,
            validBefore,
            stakeNonce(target, salt),
            v,
            r,
            s
        );
    }

    /// @notice Starts to take `shares` of the caller out of `target`; returns the id to withdraw with.
    function startUnbonding(bytes32 target, uint256 shares) external nonReentrant returns (uint256 id) {
        _refuseWhileSlashWaits(target);
        Position storage position = _settled(target, _msgSender());
        require(shares <= position.shares, NotEnoughStake(position.shares));
        position.shares -= shares;
        uint256 amount = _take(bonded[target], shares);
        require(amount != 0, NothingToMove());
        id = ++unbondingCount;
        uint64 releasableAt = uint64(block.timestamp) + unbondingSeconds;
        unbondings[id] = Unbonding(_msgSender(), releasableAt, target, _add(unbonding[target], amount));
        emit UnbondingStarted(target, _msgSender(), id, amount, releasableAt);
    }

    /// @notice Pays an unbonding out once its delay is over.
    function withdraw(uint256 id) external nonReentrant {
        Unbonding memory leaving = unbondings[id];
        require(leaving.owner == _msgSender(), UnbondingUnknown(id));
        require(block.timestamp >= leaving.releasableAt, UnbondingRuns(leaving.releasableAt));
        _refuseWhileSlashWaits(leaving.target);
        delete unbondings[id];
        uint256 amount = _take(unbonding[leaving.target], leaving.shares);
        totalStaked -= amount;
        emit Withdrawn(leaving.target, _msgSender(), id, amount);
        token.safeTransfer(_msgSender(), amount);
    }

    /// @notice Pays `amount` wei of the caller as income to those bonded on `target` now, by their shares.
    function addIncome(bytes32 target, uint256 amount) external nonReentrant {
        require(amount != 0, NothingToMove());
        uint256 shares = bonded[target].shares;
        require(shares != 0, NobodyStaked(target));
        incomeIndex[target] += Math.mulDiv(amount, INDEX_SCALE, shares);
        totalIncome += amount;
        emit IncomeAdded(target, _msgSender(), amount);
        token.safeTransferFrom(_msgSender(), address(this), amount);
    }

    /// @notice Pays the caller's income from `target` out. A slash does not touch it.
    function collectIncome(bytes32 target) external nonReentrant returns (uint256 amount) {
        Position storage position = _settled(target, _msgSender());
        amount = position.incomeOwed;
        require(amount != 0, NothingToMove());
        position.incomeOwed = 0;
        totalIncome -= amount;
        emit IncomePaid(target, _msgSender(), amount);
        token.safeTransfer(_msgSender(), amount);
    }

    /**
     * @notice Announces that `amount` wei of the stake on `target` is to be slashed, by a decided dispute.
     * @param evidence hash of the decision and what it rests on
     */
    function announceSlash(bytes32 target, uint256 amount, bytes32 evidence) external onlyRole(SLASHER_ROLE) {
        require(evidence != 0, EvidenceMissing());
        require(amount != 0, NothingToMove());
        _refuseWhileSlashWaits(target);
        uint256 cap = slashCap(target);
        require(amount <= cap, SlashAboveCap(amount, cap));
        uint64 executableAt = uint64(block.timestamp) + appealSeconds;
        slashes[target] = Slash(amount, evidence, executableAt);
        emit SlashAnnounced(target, evidence, amount, executableAt);
    }

    /// @notice Drops a slash whose appeal was right.
    function overturnSlash(bytes32 target) external onlyRole(ARBITER_ROLE) {
        Slash memory waiting = slashes[target];
        require(waiting.executableAt != 0, NoSlash(target));
        require(block.timestamp < waiting.executableAt, AppealWindowOver(waiting.executableAt));
        delete slashes[target];
        emit SlashOverturned(target, waiting.evidence, _msgSender());
    }

    /// @notice Carries a slash out once its appeal window is over. Anyone may call; the treasury gets the OPEN.
    function executeSlash(bytes32 target) external nonReentrant {
        Slash memory waiting = slashes[target];
        require(waiting.executableAt != 0, NoSlash(target));
        require(block.timestamp >= waiting.executableAt, AppealWindowOpen(waiting.executableAt));
        delete slashes[target];
        // Nothing can have left since the announcement, so both pools together still hold the amount.
        uint256 all = stakeOf(target);
        uint256 fromUnbonding = Math.mulDiv(waiting.amount, unbonding[target].amount, all);
        unbonding[target].amount -= fromUnbonding;
        bonded[target].amount -= waiting.amount - fromUnbonding;
        totalStaked -= waiting.amount;
        emit Slashed(target, waiting.evidence, waiting.amount);
        token.safeTransfer(treasury, waiting.amount);
    }

    /// @notice The nonce to sign for {stakeWithAuthorization}: it names the target, so the signature does too.
    function stakeNonce(bytes32 target, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(target, salt));
    }

    /// @notice All stake on `target`, bonded and unbonding, in wei.
    function stakeOf(bytes32 target) public view returns (uint256) {
        return bonded[target].amount + unbonding[target].amount;
    }

    /// @notice The most that one slash could take from `target` now, in wei.
    function slashCap(bytes32 target) public view returns (uint256) {
        return Math.mulDiv(stakeOf(target), parameters.slashingCapBps(), WHOLE_BPS);
    }

    /// @notice What `account` has bonded on `target`, in wei after all slashes.
    function bondedOf(bytes32 target, address account) external view returns (uint256) {
        return _worth(bonded[target], positions[target][account].shares);
    }

    /// @notice Income of `account` from `target` that can be collected, in wei.
    function incomeOf(bytes32 target, address account) external view returns (uint256) {
        return _owed(target, positions[target][account]);
    }

    /// @notice All that this contract owes, in wei: stake, unbonding stake and income.
    function liabilities() public view returns (uint256) {
        return totalStaked + totalIncome;
    }

    /// @notice Whether this contract holds all that it owes.
    function isSolvent() external view returns (bool) {
        return token.balanceOf(address(this)) >= liabilities();
    }

    /// @dev Books a stake; the caller takes the OPEN after it, or everything is undone.
    function _stake(bytes32 target, address account, uint256 amount) private {
        require(amount >= STAKE_MIN, StakeTooSmall(amount));
        _refuseWhileSlashWaits(target);
        Position storage position = _settled(target, account);
        uint256 shares = _add(bonded[target], amount);
        position.shares += shares;
        totalStaked += amount;
        emit Staked(target, account, amount, shares);
    }

    function _refuseWhileSlashWaits(bytes32 target) private view {
        // 0 says that none waits; no time is compared.
        // slither-disable-next-line incorrect-equality
        require(slashes[target].executableAt == 0, SlashWaits(target));
    }

    /// @dev The position with its income up to now set aside.
    function _settled(bytes32 target, address account) private returns (Position storage position) {
        position = positions[target][account];
        position.incomeOwed = _owed(target, position);
        position.incomeIndex = incomeIndex[target];
    }

    function _owed(bytes32 target, Position storage position) private view returns (uint256) {
        uint256 grown = incomeIndex[target] - position.incomeIndex;
        return position.incomeOwed + Math.mulDiv(position.shares, grown, INDEX_SCALE);
    }

    /// @dev One share and one wei that nobody owns keep a pool that a slash emptied open. All shares are worth
    /// floor(shares * (amount + 1) / (shares + 1)) = amount, so the last one out gets all that is there.
    function _worth(Pool storage pool, uint256 shares) private view returns (uint256) {
        return Math.mulDiv(shares, pool.amount + 1, pool.shares + 1);
    }

    /// @dev Rounds shares down: who enters never takes from who is in.
    function _add(Pool storage pool, uint256 amount) private returns (uint256 shares) {
        shares = Math.mulDiv(amount, pool.shares + 1, pool.amount + 1);
        require(shares != 0, NothingToMove());
        pool.amount += amount;
        pool.shares += shares;
    }

    /// @dev Rounds wei down: who leaves never takes from who stays.
    function _take(Pool storage pool, uint256 shares) private returns (uint256 amount) {
        amount = _worth(pool, shares);
        pool.amount -= amount;
        pool.shares -= shares;
    }
}

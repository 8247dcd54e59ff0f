// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/**
 * @title Custody: OPEN that backs the balances in the OpenLedger books
 * @notice A deposit is credited off chain from the {Deposited} event once its block is final. The OPEN stays
 * here until it leaves in one of two ways: back to a user ({withdraw}) or to the payout contract ({fund}).
 * Both carry an id that works once, so a resent transaction cannot pay twice.
 * @dev Pausing stops money in both directions; it moves nothing and cannot be used to take anything.
 */
contract DepositEscrow is AccessControlDefaultAdminRules, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice May withdraw to users and fund the payout contract.
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR_ROLE");
    /// @notice May pause and unpause.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    /// @notice The token held.
    IERC20 public immutable token;
    /// @notice The payout contract; fixed at deployment.
    address public immutable distributor;

    /// @notice Number of deposits so far; the last deposit id.
    uint256 public depositCount;
    /// @notice Whether a withdrawal or funding id was used.
    mapping(bytes32 id => bool used) public isUsed;

    event Deposited(address indexed account, uint256 amount, uint256 indexed depositId);
    event Withdrawn(address indexed to, uint256 amount, bytes32 indexed id);
    event Funded(address indexed distributor, uint256 amount, bytes32 indexed id);

    /// @dev Zero amounts are refused, also when a token delivers nothing.
    error ZeroAmount();
    /// @dev The id was used before.
    error AlreadyProcessed(bytes32 id);

    constructor(
        address admin,
        uint48 adminDelay,
        IERC20 token_,
        address distributor_
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        token = token_;
        distributor = distributor_;
    }

    /// @notice Deposits `amount` wei of OPEN of the caller, who has approved it before.
    function deposit(uint256 amount) external nonReentrant whenNotPaused {
        _deposit(amount);
    }

    /**
     * @notice Deposits `amount` wei with an approval by signature, in one transaction.
     * @dev Anyone can send a seen permit first; the permit then fails although the approval is there. So its
     * failure is ignored, and the transfer decides.
     */
    function depositWithPermit(
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant whenNotPaused {
        try IERC20Permit(address(token)).permit(_msgSender(), address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(amount);
    }

    /// @notice Pays `amount` wei back to `to`; `id` works once.
    function withdraw(
        address to,
        uint256 amount,
        bytes32 id
    ) external nonReentrant whenNotPaused onlyRole(OPERATOR_ROLE) {
        _use(id, amount);
        emit Withdrawn(to, amount, id);
        token.safeTransfer(to, amount);
    }

    /// @notice Moves `amount` wei to the payout contract; `id` works once.
    function fund(uint256 amount, bytes32 id) external nonReentrant whenNotPaused onlyRole(OPERATOR_ROLE) {
        _use(id, amount);
        emit Funded(distributor, amount, id);
        token.safeTransfer(distributor, amount);
    }

    /// @notice Stops deposits, withdrawals and funding.
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @notice Ends a pause.
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @dev Credits what arrived, not what was asked for: a token may take a fee on the way.
    function _deposit(uint256 amount) private {
        uint256 balanceBefore = token.balanceOf(address(this));
        token.safeTransferFrom(_msgSender(), address(this), amount);
        uint256 received = token.balanceOf(address(this)) - balanceBefore;
        require(received != 0, ZeroAmount());
        depositCount += 1;
        emit Deposited(_msgSender(), received, depositCount);
    }

    function _use(bytes32 id, uint256 amount) private {
        require(amount != 0, ZeroAmount());
        require(!isUsed[id], AlreadyProcessed(id));
        isUsed[id] = true;
    }
}

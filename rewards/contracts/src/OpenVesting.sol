// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {VestingWallet} from "@openzeppelin/contracts/finance/VestingWallet.sol";
import {VestingWalletCliff} from "@openzeppelin/contracts/finance/VestingWalletCliff.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/**
 * @title The wallet of one grant
 * @notice OpenZeppelin's vesting wallet with a cliff, and nothing else: nothing before the cliff, from then on the
 * part of the time that is over, all of it at the end. Anyone may call `release`; it always pays the owner. Nobody
 * can take a grant back.
 */
contract GrantWallet is VestingWalletCliff {
    /**
     * @param beneficiary gets what is released
     * @param start when the schedule begins, in seconds since 1970
     * @param cliffSeconds from the start until the first OPEN is released
     * @param durationSeconds from the start until all of it is
     */
    constructor(
        address beneficiary,
        uint64 start,
        uint64 cliffSeconds,
        uint64 durationSeconds
    ) VestingWallet(beneficiary, start, durationSeconds) VestingWalletCliff(cliffSeconds) {}
}

/**
 * @title Grants of OPEN that unlock over time
 * @notice Makes one {GrantWallet} for each grant and moves the whole amount of the caller into it at once, so what
 * is promised is there. It holds no OPEN itself and has no say in a grant once it is made: grants are irrevocable.
 *
 * @dev All grants stand in {Granted}, which is what an unlock chart is computed from.
 */
contract OpenVesting is AccessControlDefaultAdminRules {
    using SafeERC20 for IERC20;

    /// @notice May make grants, from its own OPEN: the timelock by a vote, and the wallet of the first supply.
    bytes32 public constant GRANTER_ROLE = keccak256("GRANTER_ROLE");
    /// @notice The longest schedule, and how far from now one may begin.
    uint64 public constant SPAN_MAX = 20 * 365 days;

    /// @notice The token granted.
    IERC20 public immutable token;
    /// @notice The wallet of a grant by its id; zero for an id that was not used.
    mapping(bytes32 id => address wallet) public walletOf;

    /// @notice `amount` wei of `token` are in `wallet` for `beneficiary`, by this schedule.
    event Granted(
        bytes32 indexed id,
        address indexed beneficiary,
        address indexed wallet,
        uint256 amount,
        uint64 start,
        uint64 cliffSeconds,
        uint64 durationSeconds
    );

    /// @dev A grant with this id was made before.
    error AlreadyProcessed(bytes32 id);
    /// @dev An amount of zero.
    error NothingToGrant();
    /// @dev No duration, or one above {SPAN_MAX}.
    error DurationOutOfRange(uint64 durationSeconds);
    /// @dev More than {SPAN_MAX} before or after now.
    error StartOutOfRange(uint64 start);

    /**
     * @param admin the one account that grants roles
     * @param adminDelay seconds between the two steps of a hand-over
     * @param token_ OPEN
     */
    constructor(
        address admin,
        uint48 adminDelay,
        IERC20 token_
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        token = token_;
    }

    /**
     * @notice Grants `amount` wei of the caller, who has approved it before.
     * @param id names the grant; works once, so that a grant sent twice is made once
     * @param beneficiary the first owner of the grant's wallet
     * @param amount all of the grant, in wei
     * @param start when the schedule begins, in seconds since 1970; may have passed
     * @param cliffSeconds at most the duration (OpenZeppelin refuses more)
     * @param durationSeconds more than zero, at most {SPAN_MAX}
     * @return wallet where the OPEN is
     */
    function grant(
        bytes32 id,
        address beneficiary,
        uint256 amount,
        uint64 start,
        uint64 cliffSeconds,
        uint64 durationSeconds
    ) external onlyRole(GRANTER_ROLE) returns (address wallet) {
        require(walletOf[id] == address(0), AlreadyProcessed(id));
        require(amount != 0, NothingToGrant());
        require(durationSeconds != 0 && durationSeconds <= SPAN_MAX, DurationOutOfRange(durationSeconds));
        require(
            start <= block.timestamp + SPAN_MAX && start + SPAN_MAX >= block.timestamp,
            StartOutOfRange(start)
        );
        wallet = address(new GrantWallet(beneficiary, start, cliffSeconds, durationSeconds));
        walletOf[id] = wallet;
        emit Granted(id, beneficiary, wallet, amount, start, cliffSeconds, durationSeconds);
        token.safeTransferFrom(_msgSender(), wallet, amount);
    }
}

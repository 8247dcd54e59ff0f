// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

/// @dev What is asked of the distributor: the epoch whose root was activated last.
interface IEpochs {
    function currentEpoch() external view returns (uint64);
}

/**
 * @title The numbers that votes decide
 * @notice How a fee is split, how long earnings wait, how much one slash may take, and who curates which public
 * Datanet. The timelock owns this contract, so only a vote changes anything. Each change is a new version with all
 * the numbers; older versions stay readable. A version counts from a coming epoch on, never for what is being
 * earned already.
 */
contract ProtocolParameters is Ownable2Step {
    /// @notice All the numbers of one version; shares in basis points (1/10,000).
    struct Values {
        uint16 contributorsBps;
        uint16 builderBps;
        uint16 stakersBps;
        uint16 platformBps;
        uint32 holdingSeconds;
        uint16 slashingCapBps;
    }

    /// @notice What the four parts of a fee add up to.
    uint256 public constant WHOLE_BPS = 10_000;
    /// @notice Earnings can wait no longer than this.
    uint32 public constant HOLDING_SECONDS_MAX = 90 days;
    /// @notice One slash can take no more than this share of a stake, whatever a vote says.
    uint16 public constant SLASHING_CAP_BPS_MAX = 5_000;

    /// @notice The payout contract, whose epochs count.
    IEpochs public immutable distributor;

    /// @notice The newest version; versions count up from 1.
    uint64 public version;
    mapping(uint64 version => Values) private _values;
    /// @notice A version counts from no epoch before this one.
    mapping(uint64 version => uint64 epoch) public notBeforeEpoch;

    /// @notice Version `version` has these numbers and counts from epoch `fromEpoch` at the earliest.
    event ParameterChanged(uint64 indexed version, uint64 indexed fromEpoch, Values values);
    /// @notice `account` curates the public Datanet with this UUID from now on, or no longer.
    event CuratorDecided(bytes16 indexed datanet, address indexed account, bool isCurator);

    /// @dev The four parts of a fee are not a whole.
    error SplitNotWhole(uint256 sumBps);
    /// @dev The value is above its fixed limit.
    error AboveLimit(uint256 value, uint256 limit);
    /// @dev A Datanet and an account are needed.
    error CuratorIncomplete();

    /**
     * @param owner_ the timelock
     * @param distributor_ the payout contract
     * @param values the numbers of version 1
     */
    constructor(address owner_, IEpochs distributor_, Values memory values) Ownable(owner_) {
        distributor = distributor_;
        _write(values);
    }

    /// @notice How a fee is split from a coming epoch on; the four parts must add up to {WHOLE_BPS}.
    function setFeeSplit(
        uint16 contributorsBps,
        uint16 builderBps,
        uint16 stakersBps,
        uint16 platformBps
    ) external onlyOwner {
        Values memory values = _values[version];
        values.contributorsBps = contributorsBps;
        values.builderBps = builderBps;
        values.stakersBps = stakersBps;
        values.platformBps = platformBps;
        _write(values);
    }

    /// @notice How long earnings wait for a refund before they are payable, from a coming epoch on.
    function setHoldingSeconds(uint32 holdingSeconds) external onlyOwner {
        Values memory values = _values[version];
        values.holdingSeconds = holdingSeconds;
        _write(values);
    }

    /// @notice The largest share of a stake that one slash may take; counts at once.
    function setSlashingCap(uint16 capBps) external onlyOwner {
        Values memory values = _values[version];
        values.slashingCapBps = capBps;
        _write(values);
    }

    /// @notice Appoints a curator of a public Datanet, or ends an appointment.
    function decideCurator(bytes16 datanet, address account, bool isCurator) external onlyOwner {
        require(datanet != 0 && account != address(0), CuratorIncomplete());
        emit CuratorDecided(datanet, account, isCurator);
    }

    /// @notice The numbers of the newest version.
    function current() external view returns (Values memory) {
        return _values[version];
    }

    /// @notice The numbers of version `version_`; all zero when there is none.
    function valuesOf(uint64 version_) external view returns (Values memory) {
        return _values[version_];
    }

    /// @notice The largest share of a stake that one slash may take now.
    function slashingCapBps() external view returns (uint16) {
        return _values[version].slashingCapBps;
    }

    /// @dev The epoch after the last activated one is being earned, so the one after that is the first to come.
    function _write(Values memory values) private {
        uint256 sumBps = uint256(values.contributorsBps) + values.builderBps + values.stakersBps + values.platformBps;
        require(sumBps == WHOLE_BPS, SplitNotWhole(sumBps));
        require(values.holdingSeconds <= HOLDING_SECONDS_MAX, AboveLimit(values.holdingSeconds, HOLDING_SECONDS_MAX));
        require(
            values.slashingCapBps <= SLASHING_CAP_BPS_MAX,
            AboveLimit(values.slashingCapBps, SLASHING_CAP_BPS_MAX)
        );
        uint64 next = version + 1;
        uint64 fromEpoch = next == 1 ? 1 : distributor.currentEpoch() + 2;
        version = next;
        _values[next] = values;
        notBeforeEpoch[next] = fromEpoch;
        emit ParameterChanged(next, fromEpoch, values);
    }
}

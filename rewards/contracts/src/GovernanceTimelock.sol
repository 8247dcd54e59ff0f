// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/**
 * @title The treasury, and the owner of what votes decide
 * @notice OpenZeppelin's TimelockController with nothing added; this file only gives it an artifact. What a vote
 * decided waits here for the delay before anybody may carry it out, so that people can leave who disagree.
 * OPEN that this contract holds is the treasury: only a vote can send it.
 */
contract GovernanceTimelock is TimelockController {
    /**
     * @param minDelay seconds between a decision and the moment it can be carried out
     * @param proposers who may schedule; the governor alone once the deployment is over
     * @param executors who may carry out; the zero address means anybody
     * @param admin grants roles during the deployment and gives the role up after it
     */
    constructor(
        uint256 minDelay,
        address[] memory proposers,
        address[] memory executors,
        address admin
    ) TimelockController(minDelay, proposers, executors, admin) {}
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEpochs, ProtocolParameters} from "../src/ProtocolParameters.sol";
import {Base} from "./Base.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @dev Stands for the distributor: says which epoch was activated last.
contract Epochs is IEpochs {
    uint64 public currentEpoch;

    function activate(uint64 epoch) external {
        currentEpoch = epoch;
    }
}

contract ProtocolParametersTest is Base {
    address private constant TIMELOCK = address(0x71);
    bytes16 private constant DATANET = bytes16(uint128(7));

    Epochs private epochs;
    ProtocolParameters private parameters;

    function setUp() public {
        epochs = new Epochs();
        parameters = new ProtocolParameters(TIMELOCK, epochs, _genesis());
    }

    function _genesis() private pure returns (ProtocolParameters.Values memory) {
        return ProtocolParameters.Values(7_000, 2_000, 500, 500, 7 days, 1_000);
    }

    function test_version_one_is_what_it_was_deployed_with_and_counts_from_epoch_one() public view {
        vm.assertEq(parameters.version(), 1);
        vm.assertEq(parameters.notBeforeEpoch(1), 1);
        vm.assertEq(parameters.current().contributorsBps, 7_000);
        vm.assertEq(parameters.slashingCapBps(), 1_000);
        vm.assertEq(parameters.valuesOf(2).contributorsBps, 0);
    }

    function test_a_change_is_a_new_version_from_a_coming_epoch_on_and_the_old_one_stays() public {
        epochs.activate(4);
        ProtocolParameters.Values memory changed = _genesis();
        (changed.contributorsBps, changed.builderBps) = (6_000, 3_000);
        vm.prank(TIMELOCK);
        vm.expectEmit();
        emit ProtocolParameters.ParameterChanged(2, 6, changed);
        parameters.setFeeSplit(6_000, 3_000, 500, 500);
        vm.assertEq(parameters.notBeforeEpoch(2), 6);
        vm.assertEq(parameters.current().contributorsBps, 6_000);
        vm.assertEq(parameters.valuesOf(1).contributorsBps, 7_000);
    }

    function test_each_setter_keeps_the_other_numbers() public {
        vm.startPrank(TIMELOCK);
        parameters.setHoldingSeconds(3 days);
        parameters.setSlashingCap(2_500);
        parameters.setFeeSplit(1, 2, 3, 9_994);
        ProtocolParameters.Values memory now_ = parameters.current();
        vm.assertEq(now_.holdingSeconds, 3 days);
        vm.assertEq(now_.slashingCapBps, 2_500);
        vm.assertEq(now_.platformBps, 9_994);
        vm.assertEq(parameters.version(), 4);
    }

    function test_only_the_owner_decides() public {
        bytes memory refusal = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        parameters.setFeeSplit(7_000, 2_000, 500, 500);
        vm.expectRevert(refusal);
        parameters.setHoldingSeconds(1);
        vm.expectRevert(refusal);
        parameters.setSlashingCap(1);
        vm.expectRevert(refusal);
        parameters.decideCurator(DATANET, PAYEE, true);
    }

    function test_limits_hold_whatever_the_vote_says() public {
        vm.startPrank(TIMELOCK);
        uint32 holding = parameters.HOLDING_SECONDS_MAX();
        vm.expectRevert(abi.encodeWithSelector(ProtocolParameters.AboveLimit.selector, holding + 1, holding));
        parameters.setHoldingSeconds(holding + 1);
        uint16 cap = parameters.SLASHING_CAP_BPS_MAX();
        vm.expectRevert(abi.encodeWithSelector(ProtocolParameters.AboveLimit.selector, cap + 1, cap));
        parameters.setSlashingCap(cap + 1);
        parameters.setHoldingSeconds(holding);
        parameters.setSlashingCap(cap);
    }

    function test_a_curator_is_announced_and_an_incomplete_appointment_refused() public {
        vm.startPrank(TIMELOCK);
        vm.expectEmit();
        emit ProtocolParameters.CuratorDecided(DATANET, PAYEE, true);
        parameters.decideCurator(DATANET, PAYEE, true);
        vm.expectRevert(ProtocolParameters.CuratorIncomplete.selector);
        parameters.decideCurator(0, PAYEE, true);
        vm.expectRevert(ProtocolParameters.CuratorIncomplete.selector);
        parameters.decideCurator(DATANET, address(0), true);
    }

    function testFuzz_a_split_is_taken_exactly_when_it_is_whole(uint16 a, uint16 b, uint16 c, uint16 d) public {
        uint256 sum = uint256(a) + b + c + d;
        vm.startPrank(TIMELOCK);
        if (sum != 10_000) vm.expectRevert(abi.encodeWithSelector(ProtocolParameters.SplitNotWhole.selector, sum));
        parameters.setFeeSplit(a, b, c, d);
    }

    function testFuzz_every_whole_split_is_taken_as_it_is(uint16 a, uint16 b, uint16 c) public {
        a = uint16(_bound(a, 0, 10_000));
        b = uint16(_bound(b, 0, 10_000 - a));
        c = uint16(_bound(c, 0, 10_000 - a - b));
        uint16 d = 10_000 - a - b - c;
        vm.prank(TIMELOCK);
        parameters.setFeeSplit(a, b, c, d);
        ProtocolParameters.Values memory now_ = parameters.current();
        vm.assertEq(uint256(now_.contributorsBps) + now_.builderBps + now_.stakersBps + now_.platformBps, 10_000);
        vm.assertEq(now_.contributorsBps, a);
        vm.assertEq(now_.stakersBps, c);
    }
}

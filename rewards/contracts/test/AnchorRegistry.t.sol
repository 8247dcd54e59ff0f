// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AnchorRegistry} from "../src/AnchorRegistry.sol";
import {Base} from "./Base.sol";

contract AnchorRegistryTest is Base {
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant SUBJECT = keccak256("version 1 of a datanet");

    AnchorRegistry private registry;

    function setUp() public {
        vm.warp(1_800_000_000);
        registry = new AnchorRegistry(ADMIN, 1 days);
        bytes32 role = registry.ANCHOR_ROLE();
        vm.prank(ADMIN);
        registry.grantRole(role, OPERATOR);
    }

    function test_an_anchor_keeps_its_time_block_and_count() public {
        vm.expectEmit();
        emit AnchorRegistry.Anchored(ROOT, SUBJECT, 42, block.timestamp);
        vm.prank(OPERATOR);
        registry.anchor(ROOT, SUBJECT, 42);
        AnchorRegistry.Anchor memory anchor = registry.anchorOf(SUBJECT, ROOT);
        vm.assertEq(anchor.timestamp, block.timestamp);
        vm.assertEq(anchor.blockNumber, block.number);
        vm.assertEq(anchor.count, 42);
    }

    function test_the_first_anchor_stands() public {
        vm.startPrank(OPERATOR);
        registry.anchor(ROOT, SUBJECT, 42);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(abi.encodeWithSelector(AnchorRegistry.AlreadyAnchored.selector, ROOT, SUBJECT));
        registry.anchor(ROOT, SUBJECT, 42);
        registry.anchor(ROOT, keccak256("another subject"), 42);
    }

    function test_an_anchor_of_nothing_or_too_much_is_refused() public {
        vm.startPrank(OPERATOR);
        vm.expectRevert(AnchorRegistry.EmptyAnchor.selector);
        registry.anchor(0, SUBJECT, 1);
        vm.expectRevert(AnchorRegistry.EmptyAnchor.selector);
        registry.anchor(ROOT, SUBJECT, 0);
        vm.expectRevert(AnchorRegistry.EmptyAnchor.selector);
        registry.anchor(ROOT, SUBJECT, uint256(type(uint128).max) + 1);
        registry.anchor(ROOT, SUBJECT, type(uint128).max);
    }

    function test_nobody_else_can_anchor() public {
        vm.prank(ADMIN);
        vm.expectRevert();
        registry.anchor(ROOT, SUBJECT, 1);
    }

    function test_gas_of_an_anchor() public {
        vm.prank(OPERATOR);
        registry.anchor(ROOT, SUBJECT, 1_000);
        vm.snapshotGasLastCall("AnchorRegistry", "anchor");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";

/**
 * @title Anchors: when a set of records existed
 * @notice Stores the Merkle root of a set of records (the rows of a Datanet version, a batch of receipts)
 * under the subject it belongs to, with the time of the block. An anchor is never changed or removed.
 */
contract AnchorRegistry is AccessControlDefaultAdminRules {
    /// @notice One anchored root; fits one storage slot.
    struct Anchor {
        uint64 timestamp;
        uint64 blockNumber;
        uint128 count;
    }

    /// @notice May write anchors.
    bytes32 public constant ANCHOR_ROLE = keccak256("ANCHOR_ROLE");

    mapping(bytes32 subject => mapping(bytes32 root => Anchor)) private _anchors;

    /// @notice `count` records with Merkle root `root` existed for `subject` at `timestamp`.
    event Anchored(bytes32 indexed root, bytes32 indexed subject, uint256 count, uint256 timestamp);

    /// @dev The same root is already anchored for this subject; the first time stands.
    error AlreadyAnchored(bytes32 root, bytes32 subject);
    /// @dev A root and at least one record are needed.
    error EmptyAnchor();

    constructor(address admin, uint48 adminDelay) AccessControlDefaultAdminRules(adminDelay, admin) {}

    /**
     * @notice Anchors `root` over `count` records for `subject`.
     * @param root Merkle root over the record hashes
     * @param subject 32-byte identity of what the records belong to
     * @param count number of records under the root, at least 1
     */
    function anchor(bytes32 root, bytes32 subject, uint256 count) external onlyRole(ANCHOR_ROLE) {
        require(root != 0 && count != 0 && count <= type(uint128).max, EmptyAnchor());
        Anchor storage entry = _anchors[subject][root];
        require(entry.timestamp == 0, AlreadyAnchored(root, subject));
        entry.timestamp = uint64(block.timestamp);
        entry.blockNumber = uint64(block.number);
        entry.count = uint128(count);
        emit Anchored(root, subject, count, block.timestamp);
    }

    /// @notice The anchor of `root` for `subject`; all zero when there is none.
    function anchorOf(bytes32 subject, bytes32 root) external view returns (Anchor memory) {
        return _anchors[subject][root];
    }
}

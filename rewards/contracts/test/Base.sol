// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenToken} from "../src/OpenToken.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @dev The cheatcodes of forge that these tests use; forge-std is not needed for so few.
interface Vm {
    function prank(address caller) external;
    function startPrank(address caller) external;
    function stopPrank() external;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit() external;
    function warp(uint256 timestamp) external;
    function chainId(uint256 identifier) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function assume(bool condition) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(address left, address right) external pure;
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(string calldata left, string calldata right) external pure;
    function assertTrue(bool condition) external pure;
    function assertFalse(bool condition) external pure;
    function assertLe(uint256 left, uint256 right) external pure;
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
}

/// @dev Shared set-up: a cast of addresses, a funded token, signatures and Merkle trees.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant OPEN = 1e18;
    uint256 internal constant CAP = 1_000_000 * OPEN;
    uint256 internal constant HOLDER_KEY = 0xA11CE;

    address internal constant ADMIN = address(0xAD);
    address internal constant OPERATOR = address(0x09);
    address internal constant GUARDIAN = address(0x6D);
    address internal constant STRANGER = address(0x57);
    address internal constant PAYEE = address(0xBEE);

    OpenToken internal token;
    address internal holder;

    function _setUpToken() internal {
        vm.warp(1_800_000_000);
        holder = vm.addr(HOLDER_KEY);
        token = new OpenToken(ADMIN, 1 days, CAP);
        vm.startPrank(ADMIN);
        token.grantRole(token.MINTER_ROLE(), OPERATOR);
        vm.stopPrank();
        vm.prank(OPERATOR);
        token.mint(holder, 1_000 * OPEN);
    }

    /// @dev Digest of an EIP-712 message to the token.
    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash));
    }

    function _permitDigest(address spender, uint256 amount, uint256 deadline) internal view returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        return _digest(keccak256(abi.encode(typeHash, holder, spender, amount, token.nonces(holder), deadline)));
    }

    /// @dev What `from` signs so that the contract `to` may take `amount` (ERC-3009), valid from the beginning of time.
    function _receiptDigest(
        address from,
        address to,
        uint256 amount,
        uint256 validBefore,
        bytes32 nonce
    ) internal view returns (bytes32) {
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return _digest(keccak256(abi.encode(typeHash, from, to, amount, 0, validBefore, nonce)));
    }

    function _bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + (value % (high - low + 1));
    }

    /// @dev Nodes of a complete binary tree, root first, leaves last; the order of leaves is the caller's.
    function _tree(bytes32[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        uint256 count = leaves.length;
        nodes = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; i++) nodes[2 * count - 2 - i] = leaves[i];
        for (uint256 i = count - 1; i > 0; i--) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
    }

    function _proof(bytes32[] memory nodes, uint256 index) internal pure returns (bytes32[] memory proof) {
        uint256 node = nodes.length - 1 - index;
        uint256 length = 0;
        for (uint256 i = node; i > 0; i = (i - 1) / 2) length++;
        proof = new bytes32[](length);
        for (uint256 i = 0; i < length; i++) {
            proof[i] = nodes[node % 2 == 1 ? node + 1 : node - 1];
            node = (node - 1) / 2;
        }
    }
}

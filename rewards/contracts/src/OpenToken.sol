// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/**
 * @title OPEN, the token of OpenLedger
 * @notice ERC-20 with 18 decimals and a fixed cap. Holders can approve by signature (ERC-2612 permit), vote
 * (ERC-5805, clock in seconds) and pay by signature (ERC-3009), so a payer needs no native coin.
 * @dev ERC-3009 exists in two forms. The (v, r, s) form comes from OpenZeppelin and is the one that x402
 * facilitators call; the `bytes` form below also accepts smart wallets (ERC-1271). Both share the random
 * 32-byte nonces of the EIP. OpenZeppelin's own `bytes` extension is not used because it replaces them by
 * sequential nonces, which a payer who signs several payments at once cannot use.
 */
contract OpenToken is ERC20Capped, ERC20Permit, ERC20Votes, ERC3009, AccessControlDefaultAdminRules {
    /// @notice May create OPEN up to the cap.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    /**
     * @param admin the one account that grants roles; hand-over takes two steps
     * @param adminDelay seconds between the two steps of a hand-over
     * @param supplyCap the most OPEN that can ever exist, in wei
     */
    constructor(
        address admin,
        uint48 adminDelay,
        uint256 supplyCap
    )
        ERC20("OPEN", "OPEN")
        ERC20Capped(supplyCap)
        ERC20Permit("OPEN")
        AccessControlDefaultAdminRules(adminDelay, admin)
    {}

    /**
     * @notice Creates `amount` wei of OPEN for `account`.
     * @dev Reverts with `ERC20ExceededCap` above the cap.
     */
    function mint(address account, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(account, amount);
    }

    /// @notice {transferWithAuthorization} with the signature as one value; accepts smart wallets.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce)
        );
        _requireSignature(from, structHash, signature);
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    /// @notice {receiveWithAuthorization} with the signature as one value; accepts smart wallets.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(RECEIVE_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce)
        );
        _requireSignature(from, structHash, signature);
        require(to == _msgSender(), ERC20InvalidReceiver(to));
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    /// @notice {cancelAuthorization} with the signature as one value; accepts smart wallets.
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external {
        _requireSignature(
            authorizer,
            keccak256(abi.encode(CANCEL_AUTHORIZATION_TYPEHASH, authorizer, nonce)),
            signature
        );
        _cancelAuthorization(authorizer, nonce);
    }

    /// @notice Voting snapshots are taken by time, so that a vote does not depend on block speed (ERC-6372).
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @notice Machine-readable description of {clock} (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @notice The next permit and delegation nonce of `owner_`.
    function nonces(address owner_) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner_);
    }

    function _update(
        address from,
        address to,
        uint256 value
    ) internal override(ERC20, ERC20Capped, ERC20Votes) {
        super._update(from, to, value);
    }

    function _requireSignature(address signer, bytes32 structHash, bytes calldata signature) private view {
        require(
            SignatureChecker.isValidSignatureNowCalldata(signer, _hashTypedDataV4(structHash), signature),
            ERC3009InvalidSignature()
        );
    }
}

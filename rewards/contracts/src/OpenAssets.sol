// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/**
 * @title Assets: who owns a Datanet or a model
 * @notice One token for each thing, made on its owner's request, with the digest of what it is called and an
 * ERC-2981 royalty for its maker. Tokens move as any ERC-721 does; the site pays the owner's part of later
 * fees to the person who has linked the wallet that holds the token, and moves nothing else.
 */
contract OpenAssets is ERC721, ERC2981, AccessControlDefaultAdminRules {
    /// @notice May make tokens.
    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");
    /// @notice The largest royalty, in hundredths of a per cent of a sale.
    uint96 public constant ROYALTY_MAX_BPS = 1_000;

    /// @notice Keccak-256 of the bytes at {tokenURI}; zero for a token that was never made.
    mapping(uint256 tokenId => bytes32 digest) public metadataDigestOf;

    string private _uri;

    /// @notice `tokenId` was made for `to`, who gets the royalty.
    event Registered(uint256 indexed tokenId, address indexed to, bytes32 metadataDigest, uint96 royaltyBps);

    /// @dev This thing has its token already.
    error AlreadyProcessed(uint256 tokenId);
    /// @dev A digest is needed.
    error EmptyDigest();
    /// @dev Above {ROYALTY_MAX_BPS}.
    error RoyaltyTooHigh(uint96 royaltyBps);

    /// @param uri where metadata is served; a token's decimal id follows
    constructor(
        address admin,
        uint48 adminDelay,
        string memory uri
    ) ERC721("OpenLedger assets", "OLASSET") AccessControlDefaultAdminRules(adminDelay, admin) {
        _uri = uri;
    }

    /**
     * @notice Makes the token of a thing.
     * @param to its owner on the site, who asked for it with this wallet
     * @param tokenId keccak-256 of `kind:id`
     * @param metadataDigest keccak-256 of its metadata
     * @param royaltyBps the maker's part of later sales, at most {ROYALTY_MAX_BPS}
     */
    function register(
        address to,
        uint256 tokenId,
        bytes32 metadataDigest,
        uint96 royaltyBps
    ) external onlyRole(REGISTRAR_ROLE) {
        require(metadataDigest != 0, EmptyDigest());
        require(royaltyBps <= ROYALTY_MAX_BPS, RoyaltyTooHigh(royaltyBps));
        require(metadataDigestOf[tokenId] == 0, AlreadyProcessed(tokenId));
        metadataDigestOf[tokenId] = metadataDigest;
        _setTokenRoyalty(tokenId, to, royaltyBps);
        emit Registered(tokenId, to, metadataDigest, royaltyBps);
        // Not the "safe" mint, which calls the holder: the wallet has proved itself on the site.
        _mint(to, tokenId);
    }

    /// @inheritdoc IERC165
    function supportsInterface(
        bytes4 interfaceId
    ) public view override(ERC721, ERC2981, AccessControlDefaultAdminRules) returns (bool) {
        return super.supportsInterface(interfaceId);
    }

    function _baseURI() internal view override returns (string memory) {
        return _uri;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";

/// @notice Minimal soulbound tokens (https://eips.ethereum.org/EIPS/eip-5192).
interface IERC5192 {
    /// @notice The token cannot be transferred from now on.
    event Locked(uint256 tokenId);
    /// @notice The token can be transferred again; never emitted here.
    event Unlocked(uint256 tokenId);

    /// @notice Whether the token cannot be transferred; refuses tokens that do not exist.
    function locked(uint256 tokenId) external view returns (bool);
}

/**
 * @title Reputation: a number that its holder can show elsewhere and can neither sell nor move
 * @notice One token for each wallet, written on its holder's request with the number that the site measured
 * by its published formula, and written again when the holder asks again. A holder may burn it; the issuer
 * may when the wallet is no longer its person's. Readers look at the time: a number fades.
 */
contract ReputationToken is ERC721, IERC5192, AccessControlDefaultAdminRules {
    using Strings for uint256;

    /// @notice One measured reputation; fits one storage slot.
    struct Measure {
        uint16 score;
        uint16 formula;
        uint64 measuredAt;
    }

    /// @notice May write and take back.
    bytes32 public constant ISSUER_ROLE = keccak256("ISSUER_ROLE");
    /// @notice The largest score there is.
    uint16 public constant SCORE_MAX = 999;
    /// @notice So far the issuer's clock may run before the chain's.
    uint64 public constant CLOCK_TOLERANCE = 1 hours;

    mapping(address holder => Measure) private _measures;

    /// @notice `holder` had `score` by version `formula` of the formula at `measuredAt`.
    event ReputationWritten(address indexed holder, uint16 score, uint16 formula, uint64 measuredAt);

    /// @dev Nobody can give a reputation away.
    error Soulbound();
    /// @dev A score of 0, above {SCORE_MAX}, or from further in the future than {CLOCK_TOLERANCE}.
    error NotAMeasure(uint16 score, uint64 measuredAt);
    /// @dev A newer measure, or this one, is written already.
    error AlreadyProcessed(address holder, uint64 measuredAt);
    /// @dev Only the holder or the issuer may burn.
    error NotTheHolder(address caller);

    constructor(
        address admin,
        uint48 adminDelay
    ) ERC721("OpenLedger reputation", "OLREP") AccessControlDefaultAdminRules(adminDelay, admin) {}

    /**
     * @notice Writes a measured reputation to the token of `holder`, which is made if there is none.
     * @param holder the wallet, which has asked for it on the site
     * @param score 1 to 999
     * @param formula version of the published formula
     * @param measuredAt seconds since 1970; later than what is written
     */
    function write(address holder, uint16 score, uint16 formula, uint64 measuredAt) external onlyRole(ISSUER_ROLE) {
        bool isTimely = measuredAt <= block.timestamp + CLOCK_TOLERANCE;
        require(score != 0 && score <= SCORE_MAX && isTimely, NotAMeasure(score, measuredAt));
        require(measuredAt > _measures[holder].measuredAt, AlreadyProcessed(holder, measuredAt));
        _measures[holder] = Measure(score, formula, measuredAt);
        emit ReputationWritten(holder, score, formula, measuredAt);
        uint256 tokenId = tokenOf(holder);
        if (_ownerOf(tokenId) == address(0)) {
            // Not the "safe" mint: it would call the holder, who cannot refuse by being a contract.
            _mint(holder, tokenId);
            emit Locked(tokenId);
        }
    }

    /// @notice Burns the token of `holder`; by the holder or the issuer. The last time stays, so that no
    /// older measure comes back.
    function burn(address holder) external {
        require(msg.sender == holder || hasRole(ISSUER_ROLE, msg.sender), NotTheHolder(msg.sender));
        _measures[holder].score = 0;
        _burn(tokenOf(holder));
    }

    /// @notice The measure on the token of `holder`; a score of 0 when there is no token.
    function reputationOf(address holder) external view returns (Measure memory) {
        return _measures[holder];
    }

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        _requireOwned(tokenId);
        return true;
    }

    /// @notice The one token that a wallet can have.
    function tokenOf(address holder) public pure returns (uint256) {
        return uint256(uint160(holder));
    }

    /// @notice JSON with the number, kept in the contract: no site has to be asked.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        Measure memory measure = _measures[_requireOwned(tokenId)];
        bytes memory json = abi.encodePacked(
            '{"name":"OpenLedger reputation ',
            uint256(measure.score).toString(),
            '","attributes":[{"trait_type":"score","max_value":999,"value":',
            uint256(measure.score).toString(),
            '},{"trait_type":"formula","value":',
            uint256(measure.formula).toString(),
            '},{"display_type":"date","trait_type":"measured","value":',
            uint256(measure.measuredAt).toString(),
            "}]}"
        );
        return string.concat("data:application/json;base64,", Base64.encode(json));
    }

    /// @inheritdoc IERC165
    function supportsInterface(
        bytes4 interfaceId
    ) public view override(ERC721, AccessControlDefaultAdminRules) returns (bool) {
        return interfaceId == type(IERC5192).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev Minting and burning only.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        require(from == address(0) || to == address(0), Soulbound());
    }
}

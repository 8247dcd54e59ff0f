"""A wallet in the browser that really signs: EIP-1193 requests answered with a key of its own.

The page finds it as it finds any other, by EIP-6963. What it signs is checked by the site and by
the chain, so a wrong signature fails the journey; nothing here knows the site.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from playwright.sync_api import BrowserContext

USER_REJECTED = 4001  # EIP-1193
UNKNOWN_CHAIN = 4902  # EIP-3085
UNSUPPORTED_METHOD = 4200  # EIP-1193
TIP_WEI = 10**9
BALANCE_OF = "0x70a08231"  # ERC-20 balanceOf(address)

PROVIDER = """(() => {
  const provider = {
    on() {},
    removeListener() {},
    async request({ method, params }) {
      const answer = await window.walletRequest(method, params ?? []);
      if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error);
      return answer.result;
    },
  };
  const icon = 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg"/>';
  const uuid = "0f6a4d1c-6a6e-4b58-9d0e-3a1c7f0e5b11";
  const info = { uuid, name: "Journey wallet", icon, rdns: "example.journey" };
  const detail = Object.freeze({ info: Object.freeze(info), provider });
  const announce = () => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  addEventListener("eip6963:requestProvider", announce);
  announce();
})()"""


class Refused(Exception):
    """The wallet's own refusal, as EIP-1193 words it."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


class Wallet:
    """One key, its chain, and what it was asked."""

    def __init__(self, rpc_url: str) -> None:
        self.account: LocalAccount = Account.create()
        self.chain = httpx.Client(base_url=rpc_url, timeout=30, trust_env=False)
        self.asked: list[str] = []
        self.declines = False
        self.chain_id = int(self.call("eth_chainId"), 16)

    @property
    def address(self) -> str:
        return str(self.account.address)

    def install(self, context: BrowserContext) -> None:
        """Put the wallet into every page that `context` opens from now on."""
        context.expose_function("walletRequest", self.answer)
        context.add_init_script(PROVIDER)

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        """One request from a page: `{"result": …}` or `{"error": {"code", "message", "data"}}`."""
        self.asked.append(method)
        try:
            return {"result": self._do(method, params)}
        except Refused as refusal:
            return {"error": refusal.error}

    def call(self, method: str, *params: Any) -> Any:
        """Ask the chain itself; its refusal is handed on unchanged."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.chain.post("", json=body).json()
        if "error" in answer:
            error = answer["error"]
            raise Refused(error["code"], error["message"], error.get("data"))
        return answer["result"]

    def balance_of(self, token: str) -> int:
        """Wei of an ERC-20 that the account holds on the latest block."""
        data = BALANCE_OF + self.address.removeprefix("0x").lower().rjust(64, "0")
        return int(self.call("eth_call", {"to": token, "data": data}, "latest"), 16)

    def _do(self, method: str, params: Any) -> Any:
        asks_the_person = method in ("personal_sign", "eth_signTypedData_v4", "eth_sendTransaction")
        if asks_the_person and self.declines:
            raise Refused(USER_REJECTED, "User rejected the request.")
        match method:
            case "eth_accounts" | "eth_requestAccounts":
                return [self.address.lower()]
            case "eth_chainId":
                return hex(self.chain_id)
            case "wallet_switchEthereumChain":
                return self._switch(int(params[0]["chainId"], 16))
            case "personal_sign":
                self._only_own(params[1])
                message = encode_defunct(hexstr=params[0])
                return self.account.sign_message(message).signature.to_0x_hex()
            case "eth_signTypedData_v4":
                self._only_own(params[0])
                return self._sign_typed_data(params[1])
            case "eth_sendTransaction":
                return self._send(dict(params[0]))
            case _ if method.startswith(("wallet_", "personal_", "eth_sign")):
                raise Refused(UNSUPPORTED_METHOD, f"{method} is not supported.")
        return self.call(method, *params)

    def _only_own(self, address: str) -> None:
        if to_checksum_address(address) != self.address:
            raise Refused(USER_REJECTED, "That is not this wallet's account.")

    def _switch(self, chain_id: int) -> None:
        if chain_id != self.chain_id:
            raise Refused(UNKNOWN_CHAIN, "Unrecognized chain.")

    def _sign_typed_data(self, document: str) -> str:
        data = json.loads(document)
        return self.account.sign_typed_data(full_message=data).signature.to_0x_hex()

    def _send(self, asked: dict[str, Any]) -> str:
        """Fill in what the page left out, sign, broadcast; returns the transaction's hash."""
        self._only_own(asked["from"])
        base_fee = int(self.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        gas = asked.get("gas") or self.call("eth_estimateGas", asked)
        transaction = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": int(self.call("eth_getTransactionCount", self.address, "pending"), 16),
            "to": to_checksum_address(asked["to"]),
            "value": int(asked.get("value", "0x0"), 16),
            "data": asked.get("data", "0x"),
            "gas": int(gas, 16),
            "maxPriorityFeePerGas": TIP_WEI,
            "maxFeePerGas": 2 * base_fee + TIP_WEI,
        }
        signed = self.account.sign_transaction(transaction)
        return self.call("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())

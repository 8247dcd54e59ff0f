// What a wallet can be asked for, by the value of data-wallet. Loaded when used: a page has one or two.
const signing = () => import("./sign_in.js");
const votes = () => import("./govern.js");
const stakes = () => import("./stake.js");
export const ACTIONS = {
  "sign-in": async () => (await signing()).signIn,
  link: async () => (await signing()).signIn,
  deposit: async () => (await import("./deposit.js")).deposit,
  claim: async () => (await import("./claim.js")).claim,
  delegate: async () => (await votes()).delegate,
  propose: async () => (await votes()).propose,
  vote: async () => (await votes()).vote,
  queue: async () => (await votes()).queue,
  execute: async () => (await votes()).execute,
  "cancel-vote": async () => (await votes()).cancel,
  stake: async () => (await import("./enter_stake.js")).stake,
  "leave-stake": async () => (await stakes()).leave,
  "take-out": async () => (await stakes()).takeOut,
  release: async () => (await import("./release.js")).release,
  "collect-income": async () => (await stakes()).collect,
};

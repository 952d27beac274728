/**
 * Keys of the secrets that tests/fixtures/hsmd_vectors.json lists, as a stock
 * hsmd derives them (v26.06.6; each also recomputed from the rules).
 *
 * @module
 */

const hex = (text: string) => Uint8Array.fromHex(text);

/** A mnemonic file: prefix, then the words. */
export function mnemonicFile(
  words: string,
  prefix = "00".repeat(32),
): Uint8Array {
  const file = new Uint8Array(32 + words.length);
  file.set(hex(prefix));
  new TextEncoder().encodeInto(words, file.subarray(32));
  return file;
}

/** The secrets, as files. */
export const FILES = {
  S1: hex("1e14cd384691a92120f6702742ca0e06951aeee57e91b5e137526c0a6c0867f4"),
  L1: hex("6c696768746e696e672d31000000000000000000000000000000000000000000"),
  M1: mnemonicFile(
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon " +
      "abandon abandon about",
  ),
  W1: mnemonicFile(
    "ritual idle hat sunny universe pluck key alpha wing cake have wedding",
    "61ce9e277eb9894701400a422e43ba27c7d9d10b72bad52c16a411d2dbaf82f1",
  ),
  E1: hex(
    "ce7d9bb1893b09a6afa4064569829901c84f92a4be884f971b0c7db1acce236bb4c7aae7" +
      "ad0576457baa1abb9f0ba40bdcb0afa40b7c47575860c432cd767b03c7b72b0cca8486" +
      "39fd",
  ),
};

/** Opens W1 and E1. */
export const PASSPHRASE = new TextEncoder().encode("test_passphrase");

/** Argon2id of that passphrase: what old releases send for E1. */
export const E1_KEY = hex(
  "fbbb2f267c9f5d8880af91323b76ee4d2d56d11ac45790d16648de0e65d5fc48",
);

/** BIP 39 seeds of the mnemonics. */
export const SEEDS = {
  M1:
    "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc19a5ac40b" +
    "389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4",
  W1:
    "612eb41749a892260adabcaccc3a3f5813edcb1b8b496f85b631c5f6b8d14609e2c5e645" +
    "6552743356a3a020f1a1124cf2d66f754dd0eb6a2ec30d12f958a988",
};

/** Private node key and node id. */
export const NODE_KEYS = {
  S1: [
    "2e87aea4a343a892927284ff8abcb15908f0285ffe8c172309a13764d8ca14ee",
    "0254362a03265dc5363c66556768fdafb6f196f0ef3bdd0a59a84677e95462b694",
  ],
  L1: [
    "41bfd2660762506c9933ade59f1debf7e6495b10c14a92dbcd2d623da2507d3d",
    "0266e4598d1d3c415f572a8488830b60f7e744ed9235eb0b1ba93283b315c03518",
  ],
  M1: [
    "80d1287f013c19f81168363c3d524d4dc3f4c1906990145ab212681ec0f4ca70",
    "03653e90c1ce4660fd8505dd6d643356e93cfe202af109d382787639dd5890e87d",
  ],
  W1: [
    "85f45d079bbb8b63faf15cc2eebe1f47651086fb7ed1bf605bd3222c970af23a",
    "039020371fb803cd4ce1e9a909b502d7b0a9e0f10cccc35c3e9be959c52d3ba6bd",
  ],
} as const;

/** m/0/0, its child 1, and the BOLT 12 key. */
export const WALLETS = {
  S1: {
    base:
      "xpub6AYDkcCPs7mHmEX814hFvzEr9mtsNWethJQB8bixWgFyBQukxuaT3k8PgYEN96rzq7FnmstL9RTrkFaCx1Exu3K6aYKtiqmBKDNd48f5FDY",
    key1: "3b677181f4650f571d52a76ad4457393aa72c48e225c0d0c2c3d3fd220345542",
    point1:
      "025daa0b803e68ccb001a3a153c0200176fabf1dc2168351853a87d362db87076b",
    bolt12: "c26ce599cf034843549ce2ae0c877abba871fadb8780fa06a5aef4d7ace3c626",
    bolt12Point:
      "039d3dc44e94554a845cf4fbc2afd69bba2ed1562b37851b8edc4bee7ed6580d9c",
  },
  M1: {
    base:
      "xpub6Ad3hh8KWBbZ1pmL4Rzvb8PfmyaU9M8JBoj5Euo9nMo1216wgjCy8HywiLkYK15iDzeJMUX89TrnTF4etLgr72k3Kt4SefRNBeWierUaRFc",
    key1: "5fe1504dc32e5cfaea5b5d85a8dfc0e761eafb569e1f128ec916de6a7c9d9056",
    point1:
      "0314aff48bc55243c672ad8df7eb020a07ae77b7ee2e3fd093fcd34f5eab54eb7d",
    bolt12: "6d6c0c46ec7d3efb63f780ffe3c32895f3785a76e4f65dcf47108b08834d1134",
    bolt12Point:
      "02d575a541247ec761fc210ae1b0093defe026618c21824ba106dd9dd15d013428",
  },
} as const;

/** BIP 86 of M1: the account of the BIP's own vectors. */
export const BIP86 = {
  base:
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ",
  keys: [
    [
      "41f41d69260df4cf277826a9b65a3717e4eeddbeedf637f212ca096576479361",
      "03cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115",
    ],
    [
      "86c68ac0ed7df88cbdd08a847c6d639f87d1234d40503abf3ac178ef7ddc05dd",
      "0283dfe85a3151d2517290da461fe2815591ef69f2b18a2ce63f01697a8b313145",
    ],
  ],
} as const;

/** Named secrets. */
export const NAMED = {
  S1: {
    "commando":
      "a3b278d837c9cd763b8aa5feab4135ced7a09d6225f161dd65ff1e8fe928ac4a",
    "bolt12-invoice-base":
      "977d0deb89f18489b26d5eae6c9d12e05297e8125f40d6a35af85bdc0e8d5d1c",
    "node-alias-base":
      "6baa4618f9f4dffe3c31ae4ff23df7529a67ed72c3d5552cfa174643da8812fb",
    "scb secret":
      "2632ac838badcff34e38e82874d13f259edb5ab20f792e426624c09bfb83401d",
    "": "ce1563084d18c00fe39c39e16440a77e8afd8da282a54edb30563769e49a0cb1",
  },
  M1: {
    "commando":
      "836f8b35485adc06288c7fbf919b7ef2be20d7e823ebce67dc4287613d230679",
    "bolt12-invoice-base":
      "6fac1f0c529c81f060947bf852c4ef1f12a748b4d17c0247a88e5b89e65566aa",
    "node-alias-base":
      "a4edaa7318eb3102df93f6aa96eb40aa49dcd555429835ad151685cb6a16cb90",
    "scb secret":
      "b472fed50c32e8023f222ac0f78003fc5ddbf2838a957dbd0e26dcb308b11a1c",
    "": "fc9596214c626f3cb26168c9d5f69f0811ffc8c59698f1dda9dc9b2607dc8ab0",
  },
  L1: {
    "scb secret":
      "a9a2e742405c28f059349132923a99337ae7f71168b7485496e3365f5bc664ed",
  },
} as const;

/** Bases that other secrets come from. */
export const BASES = {
  S1: {
    derived: "a14e5539a5d39a6a424de979915b362afb79ebee76c2799deb6c69efb62222c2",
    channel: "427ca7d280e42feb3fed04cf5546b9f9658559cb592dce4898b918e91d537ada",
  },
  M1: {
    derived: "5be05733ad5874abdc7b3cce3354afa53308a9479d028d34f8011744e6329f72",
    channel: "ae273df55846aab5d5f529903a99a7ea8a1f20bc4d518acdbc06b0a43f5d3a5c",
  },
} as const;

/** The peer of the channels below: L1's node id. */
export const PEER =
  "0266e4598d1d3c415f572a8488830b60f7e744ed9235eb0b1ba93283b315c03518";

/** Keys of the channel with dbid 1. */
export const CHANNELS = {
  S1: {
    funding: [
      "68681a636fc2896feaf0075475bf7e7e99116ee3f596a71d1d8d3ed1128464e0",
      "035a3d6ea748737e536eed25617026bb1808a9b7f15d41dc8acd4c21252f4b5157",
    ],
    revocation: [
      "246668998b5505b88b813c4f0ea4dbf1b1c401e8be63b0e75c648f6c6f5b66f9",
      "036377b73b30ad20e50805236ac7a78f65df4b934a4b2716fc1f39fca63deb1ad8",
    ],
    htlc: [
      "31a84a56cad0b96f4c341f93388e44dce97a61303731dd31a9c2917684c03f57",
      "027ddb1c4a0bdec56aa771c99bf8cb27b9fec4be79ce4196903e5936e61a7fa51e",
    ],
    payment: [
      "e865fdd7ae042964a1d6f75fd623fd9e90c8aac5f753d5037f84f5f5c0186a30",
      "02e3de34ae3b7f4533388c72ab7312b957f8e1dbf15eb36e68b0531327913ad667",
    ],
    delayedPayment: [
      "26b5d8d99315bad1411efd80348cc828bcbaf445592ad26cd68896b48f3d3eef",
      "023a911868b45208e6a030b8af7ee450578ca007b26834021c4542e4fc68595858",
    ],
    shaseed: "6afc8d60a70e433d3c6b670ce998db360ff928a836110a9a8d8a517fbd54d921",
  },
  M1: {
    funding: [
      "fba2d3f4d553088d9ad0c296fd979c8d92b05ce50b7cd90e09c002ae58ad5742",
      "02214981be272f940aaae9bb909663c2098c80ebc88e474caedf53e80bb609ae0a",
    ],
    revocation: [
      "131de954e290dd331f321c5292330c7bbef1960b8dec204ed3070632154f7723",
      "028bbe6493bdeebf58703c54eb501ffb31f863d860aaf7da162b2fa1f0b045d0a8",
    ],
    htlc: [
      "d7ccb1443e6f9bed8e6ede600e2f34ba717df28f57898871e6eeba582b5e137e",
      "039f420a92a6e92bbd4224221fd73a6144877c8255a1339a4b9a8f6647f562b9e4",
    ],
    payment: [
      "42a1db400bb15c608546cf1a4442fda0ffa91f4b35e4abfed4d89886d989dacc",
      "0355793c3d7d9aa6a67b50446d85df0d42cfc02a2882c70060815b3319fda95b7f",
    ],
    delayedPayment: [
      "0c060b2234d68a0e994b6c2fd847b1bb529e2fd4f5da7eded135ec1d0b1ed898",
      "02d05fc33ad90b7e24e3a5806f15963dd9e2bc11f29c19e84bd93ec82f40ff591d",
    ],
    shaseed: "1bf7e376a3a444f67fb1f5fa27ecf4491123079d9b10e31740464dc62b18f039",
  },
} as const;

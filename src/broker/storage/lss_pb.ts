/**
 * Messages and service of a Lightning Storage Server, as protobuf descriptors.
 *
 * What a generator would make of `lss.proto`, with the file spelled out as a
 * table instead of encoded:
 *
 *     syntax = "proto3"; package lss;
 *     service LightningStorage { Ping, Info, Put, Get: unary }
 *
 * Facts: VLS lightning-storage-server/lib/proto/lss.proto.
 *
 * @module
 */

import { create, type Message, toBinary } from "@bufbuild/protobuf";
import {
  fileDesc,
  type GenFile,
  type GenMessage,
  type GenService,
  messageDesc,
  serviceDesc,
} from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** Who asks. */
export type Auth = Message<"lss.Auth"> & {
  clientId: Uint8Array;
  token: Uint8Array;
};

/** A versioned value. */
export type KeyValue = Message<"lss.KeyValue"> & {
  key: string;
  version: bigint;
  value: Uint8Array;
};

type PingRequest = Message<"lss.PingRequest"> & { message: string };
type PingReply = Message<"lss.PingReply"> & { message: string };
type InfoRequest = Message<"lss.InfoRequest">;
type InfoReply = Message<"lss.InfoReply"> & {
  version: string;
  serverId: Uint8Array;
};
type GetRequest = Message<"lss.GetRequest"> & {
  auth?: Auth;
  keyPrefix: string;
  nonce: Uint8Array;
};
type GetReply = Message<"lss.GetReply"> & {
  kvs: KeyValue[];
  hmac: Uint8Array;
};
type PutRequest = Message<"lss.PutRequest"> & {
  auth?: Auth;
  kvs: KeyValue[];
  hmac: Uint8Array;
};
type PutReply = Message<"lss.PutReply"> & {
  success: boolean;
  hmac: Uint8Array;
  conflicts: KeyValue[];
};

const text = (name: string, number: number) => ({
  name,
  number,
  type: Type.STRING,
  label: Label.OPTIONAL,
});
const bytes = (name: string, number: number) => ({
  ...text(name, number),
  type: Type.BYTES,
});
const part = (name: string, number: number, typeName: string) => ({
  ...text(name, number),
  type: Type.MESSAGE,
  typeName: `.lss.${typeName}`,
});
const parts = (name: string, number: number, typeName: string) => ({
  ...part(name, number, typeName),
  label: Label.REPEATED,
});
const unary = (name: string) => ({
  name,
  inputType: `.lss.${name}Request`,
  outputType: `.lss.${name}Reply`,
});

/** In the order of the numbers below. */
const MESSAGES = [
  { name: "PingRequest", field: [text("message", 1)] },
  { name: "PingReply", field: [text("message", 1)] },
  { name: "InfoRequest", field: [] },
  { name: "InfoReply", field: [text("version", 1), bytes("server_id", 2)] },
  { name: "Auth", field: [bytes("client_id", 1), bytes("token", 2)] },
  {
    name: "KeyValue",
    field: [
      text("key", 1),
      { ...text("version", 2), type: Type.INT64 },
      bytes("value", 3),
    ],
  },
  {
    name: "GetRequest",
    field: [part("auth", 1, "Auth"), text("key_prefix", 2), bytes("nonce", 3)],
  },
  {
    name: "GetReply",
    field: [parts("kvs", 1, "KeyValue"), bytes("hmac", 2)],
  },
  {
    name: "PutRequest",
    field: [
      part("auth", 1, "Auth"),
      parts("kvs", 2, "KeyValue"),
      bytes("hmac", 3),
    ],
  },
  {
    name: "PutReply",
    field: [
      { ...text("success", 1), type: Type.BOOL },
      bytes("hmac", 2),
      parts("conflicts", 10, "KeyValue"),
    ],
  },
];

const file: GenFile = fileDesc(
  toBinary(
    FileDescriptorProtoSchema,
    create(FileDescriptorProtoSchema, {
      name: "lss.proto",
      package: "lss",
      syntax: "proto3",
      messageType: MESSAGES,
      service: [{
        name: "LightningStorage",
        method: ["Ping", "Info", "Put", "Get"].map(unary),
      }],
    }),
  ).toBase64(),
);

const PingRequestSchema: GenMessage<PingRequest> = messageDesc(file, 0);
const PingReplySchema: GenMessage<PingReply> = messageDesc(file, 1);
const InfoRequestSchema: GenMessage<InfoRequest> = messageDesc(file, 2);
const InfoReplySchema: GenMessage<InfoReply> = messageDesc(file, 3);
const GetRequestSchema: GenMessage<GetRequest> = messageDesc(file, 6);
const GetReplySchema: GenMessage<GetReply> = messageDesc(file, 7);
const PutRequestSchema: GenMessage<PutRequest> = messageDesc(file, 8);
const PutReplySchema: GenMessage<PutReply> = messageDesc(file, 9);

/** One call: a question, an answer. */
interface Unary<I, O> {
  readonly methodKind: "unary";
  readonly input: I;
  readonly output: O;
}

/** The service of a Lightning Storage Server. */
export const LightningStorage: GenService<{
  ping: Unary<typeof PingRequestSchema, typeof PingReplySchema>;
  info: Unary<typeof InfoRequestSchema, typeof InfoReplySchema>;
  put: Unary<typeof PutRequestSchema, typeof PutReplySchema>;
  get: Unary<typeof GetRequestSchema, typeof GetReplySchema>;
}> = serviceDesc(file, 0);

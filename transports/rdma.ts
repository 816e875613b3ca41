/**
 * `rdma:HOST:PORT`: understood, never opened. The answers are those of a QEMU on a machine without RDMA devices; a
 * malformed address, on which QEMU 10.0.2 aborts, is an ordinary error. Source: QEMU migration/rdma.c.
 * @module
 */
import type { Transport } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";
import { formatInet, type InetAddress, parseInet } from "./inet.ts";

/** The `rdma:` transport. */
export const rdmaTransport: Transport = Object.freeze<Transport>({
  scheme: "rdma",
  help: "rdma:HOST:PORT  remote memory access (not available here)",
  kind: "rdma",
  owns: (address) => address.transport === "rdma",
  parse: (rest) => ({ transport: "rdma", ...parseInet(rest) }),
  format: (address) => "rdma:" + formatInet(address as unknown as InetAddress),

  connect() {
    throw new TransportError("RDMA ERROR: could not create CM channel");
  },

  listen() {
    throw new TransportError("RDMA ERROR: could not create rdma event channel");
  },
});

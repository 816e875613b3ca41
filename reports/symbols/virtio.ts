/**
 * Virtio devices: transport, features, queues.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const VIRTIO: readonly SymbolRule[] = [];

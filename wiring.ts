/**
 * The one list of plugins. It is apart from mod.ts so that a program that only looks into files need not load all of the library.
 * @module
 */
import type { Plugin } from "./core/plugin.ts";
import { backgroundSnapshot } from "./plugins/background_snapshot.ts";
import { directIo } from "./plugins/direct_io.ts";
import { dirtyLimit } from "./plugins/dirty_limit.ts";
import { ignoreShared } from "./plugins/ignore_shared.ts";
import { mappedRam } from "./plugins/mapped_ram.ts";
import { multifd } from "./plugins/multifd.ts";
import { multifdChannels } from "./plugins/multifd_channels.ts";
import { multifdZlib } from "./plugins/multifd_zlib.ts";
import { multifdZstd } from "./plugins/multifd_zstd.ts";
import { postcopyPreempt } from "./plugins/postcopy_preempt.ts";
import { postcopyRam } from "./plugins/postcopy_ram.ts";
import { switchoverAck } from "./plugins/switchover_ack.ts";
import { xbzrle } from "./plugins/xbzrle.ts";
import { zeroCopySend } from "./plugins/zero_copy_send.ts";
import { zeroPageDetection } from "./plugins/zero_page_detection.ts";

/** Plugins every workbench has. */
export const DEFAULT_PLUGINS: readonly Plugin[] = Object.freeze([
  xbzrle,
  postcopyRam,
  multifd,
  multifdZlib,
  multifdZstd,
  multifdChannels,
  ignoreShared,
  backgroundSnapshot,
  zeroCopySend,
  postcopyPreempt,
  switchoverAck,
  dirtyLimit,
  mappedRam,
  zeroPageDetection,
  directIo,
]);

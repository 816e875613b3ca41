/**
 * `miglab serve --qmp unix:PATH`: the model guest behind a QMP socket.
 * @module
 */
import { benchOptions, refuseOthers, UsageError } from "../options.ts";
import type { CommandModule } from "../program.ts";
import { onEnding } from "../signals.ts";

const DETAILS = `
Any QMP client can connect, several at once: qmp-shell, QEMU's own library, miglab itself. quit, Ctrl-C or SIGTERM end it. A
Unix socket is its owner's alone; tcp: listens where it is told, so tcp:127.0.0.1:PORT is not open to others.

Examples:
  miglab serve --qmp unix:/tmp/model.qmp --ram 512M
  miglab serve --qmp unix:/tmp/model.qmp --guest vm.sav
  miglab --qmp /tmp/model.qmp -e 'info status'`;

/** Declares `serve`. */
export const serveCommand: CommandModule = (root, context) => {
  root.command("serve")
    .summary("the model guest behind a QMP socket")
    .description("Put the model guest, or a saved one, behind a QMP socket given with --qmp.")
    .addHelpText("after", DETAILS)
    .action(async () => {
      refuseOthers(root, "serve");
      const { qmp, ...guest } = context.options();
      if (qmp === undefined) throw new UsageError("where to listen is needed: --qmp unix:PATH or tcp:HOST:PORT");
      const { serveQmp } = await import("../../core/qmp_server.ts");
      await using bench = await context.tools.openBench(benchOptions(guest));
      await using server = serveQmp(bench.session, qmp);
      const stopReports = bench.session.onReport((line) => context.output.err(`miglab: ${line}\n`));
      const stop = onEnding(() => void server.close());
      try {
        if (!guest.quiet) context.output.err(`miglab: listening on ${server.address}\n`);
        await server.ended;
      } finally {
        stopReports();
        stop();
      }
      context.finish(bench.session.exitStatus ?? 0);
    });
};

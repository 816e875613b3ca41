/**
 * Sentences of libvirt about a save image, the domain in it and its host, and what each means. See why_rules.ts.
 *
 * Most are about what is around the file: the place is then that of the domain XML which asks for it. Source of the sentences:
 * libvirt 11.3 src/qemu/qemu_saveimage.c, qemu_process.c, qemu_domain.c, src/conf/domain_conf.c (virDomainDefCheckABIStability),
 * virdomainobjlist.c, src/cpu/cpu.c, cpu_x86.c, src/util/virfile.c; half of them said by it to images made for that.
 * @module
 */
import type { WhyFacts, WhyPlace } from "./why_facts.ts";
import type { WhyRule } from "./why_rules.ts";

const DAMAGED = "miglab verify tells where the file is damaged; miglab salvage what it still holds";
const EDIT = "virsh restore --xml, or virsh save-image-edit";
const LOG = "QEMU's own last lines are in /var/log/libvirt/qemu/NAME.log: give them to miglab why";

/** The domain XML. */
const inXml = (_: RegExpExecArray, facts: WhyFacts): WhyPlace | undefined => facts.line(/^libvirt\.xml$/);

/** Rows about libvirt. */
export const LIBVIRT_RULES: readonly WhyRule[] = [
  {
    pattern: /^failed to read qemu header$/,
    cause: "the file has fewer than the 92 bytes of libvirt's header",
    advice: "the save did not begin, or it is not libvirt's file",
  },
  {
    pattern: /^save image is incomplete$/,
    cause: "libvirt did not come to the end of the save: its last step is to write LibvirtQemudSave",
    advice:
      "miglab salvage tells what it holds; when the stream is complete all the same, miglab convert makes a good image of it",
    find: (_, facts) => facts.line(/^libvirt\.magic$/),
  },
  {
    pattern: /^image magic is incorrect$/,
    cause: "the file is no libvirt save image: a bare stream (virsh dump), or another file",
    advice: "miglab inspect says what it is; miglab convert --to libvirt-raw puts a header in front",
    find: (_, facts) => facts.line(/^(libvirt|header)\.magic$/),
  },
  {
    pattern: /^image version is not supported \((\d+) > (\d+)\)$/,
    cause: "the header is of version $1: a newer libvirt, or damage",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/^libvirt\.version$/),
  },
  {
    pattern: /^unsupported save image format: (\d+)$/,
    cause: "the stream is packed in a way this libvirt does not know ($1; zstd is 5 since 10.4, sparse 6 since 11.2)",
    advice: "use a newer libvirt, or miglab convert --to libvirt-raw",
    find: (_, facts) => facts.line(/^libvirt\.format$/),
  },
  {
    pattern: /^(?:invalid header data length: (\d+)|failed to read (?:domain XML|cookie))$/,
    cause: "the data area behind libvirt's header is cut, or its length is damaged",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/^libvirt\.dataBytes$/),
  },
  {
    pattern: /^(?:XML error: (.+)|\(domain_definition\):\d+: (.+))$/,
    cause: "libvirt cannot make a domain of the XML in the file, or of that of --xml: $1$2",
    advice: `${EDIT}, with virsh save-image-dumpxml as the beginning; a newer libvirt may know what this one does not`,
    find: inXml,
  },
  {
    pattern: /^guest CPU doesn't match specification(?:: (.+))?$/,
    cause:
      "QEMU gives the guest another CPU here than the <cpu> of the XML, or of the cookie where it has one, says: $1. The host " +
      "has another processor, microcode, kernel or QEMU than the one that saved, or another <domain type>",
    advice:
      "restore on a host like the first (virsh capabilities). A guest that runs has seen its features: to edit them away may crash it",
    find: inXml,
  },
  {
    pattern:
      /^(?:the CPU is incompatible with host CPU: )?(?:[hH]ost CPU (?:does not provide required features: (.+)|(?:vendor|model) does not match required CPU (?:vendor|model) (.+)|does not strictly match guest CPU: Extra features))$/,
    cause: "the <cpu> of the domain asks for $1$2, which this host's processor has not",
    advice: "restore on a host like the first: virsh capabilities tells what a host has",
    find: inXml,
  },
  {
    pattern: /^Target (.+?) (?:do(?:es)? not|do(?:es)?n't) match (?:the )?source(?: *.+)?$/,
    cause:
      "the new XML describes another guest than the saved one: $1 differs, first the new value, then that of the file",
    advice:
      "change only what the guest does not see, such as paths of disks, names of networks and ports; virsh save-image-dumpxml " +
      "--security-info shows the XML to begin with",
    find: inXml,
  },
  {
    pattern: /^Emulator '(.*)' does not support machine type '(.*)'$/,
    cause: "$1 has no machine type $2",
    advice: "use a QEMU that has it (-machine help): the machine type of a guest that runs cannot be changed",
    find: (match, facts) => facts.line(/^configuration\.machine$/, match[2]) ?? facts.line(/^libvirt\.xml$/),
  },
  {
    pattern:
      /^(?:Emulator '.*' does not support (arch|os type|virt type) '(.*)'|(could not find capabilities) for (.*)|No (emulator) found for arch '(.*)')$/,
    cause: "no QEMU that this libvirt knows runs such a domain: $1 $2$4$6",
    advice:
      "install that QEMU; for virt type kvm the host needs /dev/kvm. TCG and KVM are not exchanged in a guest that runs",
    find: inXml,
  },
  {
    pattern: /^Cannot check QEMU binary (.+?): (.+)$/,
    cause: "the <emulator> of the domain, $1, is not there or not to be run: $2",
    advice: `another path: ${EDIT}`,
    find: inXml,
  },
  {
    pattern: /^Cannot access (?:storage|backing) file '(.+?)'(.*?): (.+)$/,
    cause: "a disk of the guest, $1, is not there or not to be read by QEMU$2: $3",
    advice: `bring the disk as it was at the moment of the save; at another place: ${EDIT}`,
    find: inXml,
  },
  {
    pattern: /^Failed to create file '(.+)': (.+)$/,
    cause: "$1, which the domain writes to (a serial port, a log), cannot be made: $2",
    advice: `make its directory; at another place: ${EDIT}`,
    find: inXml,
  },
  {
    pattern:
      /^(?:Cannot get interface \w+ on '(.+)'(?:: .*)?|network '(.+)' is not active|Network not found: (.+)|no network with matching (.+))$/,
    cause: "the network of an <interface> is not there: $1$2$3$4",
    advice: `virsh net-list --all, net-start; make the bridge; or name another one: ${EDIT}`,
    find: inXml,
  },
  {
    pattern: /^Failed to connect socket to '(.*virt\w*d-sock)': (.+)$/,
    cause: "the part of libvirt behind $1 does not run: $2",
    advice: "start it (systemctl start virtnetworkd.socket, virtstoraged.socket ...)",
  },
  {
    pattern: /^Security driver model '(.+)' is not available$/,
    cause: "the domain's <seclabel> is for $1, which this host does not run",
    advice: `take the <seclabel> out: ${EDIT}`,
    find: inXml,
  },
  {
    pattern: /^unable to find any master var store for loader: (.+)$/,
    cause:
      "the firmware of the domain, $1, has no template for its variables here: another edition of it, or none, is installed",
    advice: "install the firmware the source had (OVMF, AAVMF) and bring the domain's own NVRAM file",
    find: inXml,
  },
  {
    pattern: /^(?:hugetlbfs filesystem is not mounted.*|Unable to find any usable hugetlbfs mount for (.+))$/,
    cause: "the domain's memory is on huge pages, and there are none here: $1",
    advice: "set vm.nr_hugepages and mount hugetlbfs",
    find: inXml,
  },
  {
    pattern: /^domain '(.+)' is already (?:active|being started)$/,
    cause: "$1 runs already",
    advice: "virsh destroy it first if its state of now may be lost: two of one guest damage its disks",
  },
  {
    pattern: /^domain '(.+)' (?:already exists with uuid|is already defined with uuid) (\S+)$/,
    cause: "another domain, $2, is called $1 here",
    advice: "virsh domrename or undefine that one: name and UUID in a save image cannot be changed",
    find: inXml,
  },
  {
    pattern: /^cannot restore domain '(.+)' uuid (\S+) from a file which belongs to domain '(.+)' uuid (\S+)$/,
    cause: "the file lies where the managed save of $1 is looked for and is of $3, $4",
    advice: "virsh restore takes the file as it is; move it away before virsh start",
    find: inXml,
  },
  {
    pattern: /^cannot acquire state change lock(?: \((.+)\))?.*$/,
    cause: "libvirt is still at work with this domain: $1",
    advice: "wait; virsh domjobinfo shows a save or migration under way, virsh domjobabort ends it",
  },
  {
    pattern: /^(?:operation aborted: )?job '(.+)' canceled by client$/,
    cause: "somebody ended it: virsh domjobabort, or Ctrl-C",
    advice: "start it again; a save that was ended leaves no file, or an unfinished one",
  },
  {
    pattern: /^Compression program for (.+) image format in configuration file isn't available$/,
    cause: "libvirt is to pack $1 images and the program for it is not installed",
    advice: "install it, or set save_image_format in /etc/libvirt/qemu.conf",
  },
  {
    pattern: /^Parallel save is only supported with the 'sparse' save image format$/,
    cause: "--parallel-channels goes with sparse images only, and this one is of another format",
    advice: "leave it out, or miglab convert --to libvirt-sparse",
    find: (_, facts) => facts.line(/^libvirt\.format$/),
  },
  {
    pattern: /^save image format (.+) is not supported by this QEMU binary$/,
    cause: "format $1 takes a QEMU with mapped-ram, 9.0 or later",
    advice: "use a newer QEMU, or another format",
    find: (_, facts) => facts.line(/^libvirt\.format$/),
  },
  {
    pattern:
      /^(?:domain is no longer running|domain is not running|job '.+' unexpectedly failed|An error occurred, but the cause is unknown|End of file while reading data.*|Unable to read from monitor.*|[qQ][eE][mM][uU] unexpectedly closed the monitor(?: \(vm='.*'\))?|process exited while connecting to monitor)$/,
    cause: "QEMU ended before the guest was there, and libvirt did not hear why",
    advice: LOG,
    frame: true,
  },
];

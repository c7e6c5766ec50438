// Reads of a dynamic library for macOS what check-native asks. Layouts: <mach-o/loader.h> and <mach-o/nlist.h> of Apple's
// open-source XNU and cctools.

const magic64 = 0xfeedfacf;
const architectures = new Map([
  [0x0100000c, "arm64"],
  [0x01000007, "x86_64"],
]);
const loadDynamicLibrary = 0x0c;
const symbolTable = 0x02;
const codeSignature = 0x1d;
const buildVersion = 0x32;

/** Bits of a symbol's type: not for debuggers, of which kind, visible outside. */
const debugBits = 0xe0;
const kindBits = 0x0e;
const externalBit = 0x01;
/** Instead of a library's number: found at run time, wherever it is. */
const anyLibrary = 0xfe;

/**
 * @param {Buffer} file
 * @throws {Error} where the file is no 64-bit Mach-O file.
 */
export function readDynamicLibrary(file) {
  if (file.readUInt32LE(0) !== magic64) throw new Error("this is no 64-bit Mach-O file");
  const type = file.readUInt32LE(4);
  const library = {
    architecture: architectures.get(type) ?? `processor ${type}`,
    /** @type {string | undefined} E.g. "13.0". */
    oldestSystem: undefined,
    signed: false,
    /** @type {string[]} */
    libraries: [],
    /** @type {string[]} Found in one of the libraries. */
    bound: [],
    /** @type {string[]} Found at run time, in any. */
    lookedUp: [],
    /** @type {string[]} */
    exports: [],
  };
  let at = 32;
  for (let left = file.readUInt32LE(16); left > 0; left -= 1) {
    const command = file.readUInt32LE(at);
    if (command === loadDynamicLibrary) library.libraries.push(textAt(file, at + file.readUInt32LE(at + 8)));
    if (command === codeSignature) library.signed = file.readUInt32LE(at + 12) > 0;
    if (command === buildVersion) {
      const version = file.readUInt32LE(at + 12);
      library.oldestSystem = `${version >>> 16}.${(version >>> 8) & 0xff}`;
    }
    if (command === symbolTable) readSymbols(file, at, library);
    at += file.readUInt32LE(at + 4);
  }
  return library;
}

function readSymbols(file, command, library) {
  const symbols = file.readUInt32LE(command + 8);
  const count = file.readUInt32LE(command + 12);
  const names = file.readUInt32LE(command + 16);
  for (let at = symbols; at < symbols + 16 * count; at += 16) {
    const type = file.readUInt8(at + 4);
    if ((type & debugBits) !== 0 || (type & externalBit) === 0) continue;
    const name = textAt(file, names + file.readUInt32LE(at));
    if ((type & kindBits) !== 0) library.exports.push(name);
    else if (file.readUInt16LE(at + 6) >>> 8 === anyLibrary) library.lookedUp.push(name);
    else library.bound.push(name);
  }
}

function textAt(file, at) {
  return file.toString("utf8", at, file.indexOf(0, at));
}

#!/usr/bin/env node
import module from "node:module";

// From Node 22.1 on what was compiled once is kept in the system's temporary folder for the next start.
module.enableCompileCache?.();
await import("../dist/main.js");

// crossrank is ESM, which Jest runs with --experimental-vm-modules (see test.mjs), and as it is: without a transform.
export default { testEnvironment: "node", transform: {}, testMatch: ["**/*.spec.?js"], testTimeout: 60_000 };

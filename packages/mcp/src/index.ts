/** The specification version of rerankers that this package was written for. */
export const specificationVersion = "v1";

import type { Program } from "./program.js";

/** What Model.proto of coremltools (`mlmodel/format/Model.proto`) says of a model, as far as crossrank reads it. */
export interface CoreMlModel {
  /** 7: iOS 16, macOS 13. 8: iOS 17, macOS 14. 9: iOS 18, macOS 15. */
  readonly specificationVersion: number;
  /**
   * The function that runs when an application asks for none by name. The reader always gives it, `"main"` where the
   * file names none; left out of what is written, it is `"main"`. `inputs` and `outputs` are this function's.
   */
  readonly defaultFunction?: string | undefined;
  readonly inputs: readonly Feature[];
  readonly outputs: readonly Feature[];
  readonly metadata: ModelMetadata;
  /** The field's name in Model.proto: `"mlProgram"`, `"neuralNetwork"`, `"pipeline"` … */
  readonly kind: string;
  /** Present exactly where `kind` is `"mlProgram"`. */
  readonly program?: Program | undefined;
}

export interface ModelMetadata {
  readonly shortDescription: string;
  readonly version: string;
  readonly author: string;
  readonly license: string;
  /** What converters write about themselves, e.g. `com.github.apple.coremltools.version`. */
  readonly userDefined: Readonly<Record<string, string>>;
}

/** An input or output, as the application sees it. */
export interface Feature {
  readonly name: string;
  readonly description: string;
  readonly optional: boolean;
  readonly type: FeatureType;
}

export type FeatureType =
  | MultiArrayType
  /** Images, dictionaries and so on: the field's name in FeatureTypes.proto. */
  | { readonly kind: "other"; readonly as: string };

export interface MultiArrayType {
  readonly kind: "multi-array";
  /** `ArrayDataType` of FeatureTypes.proto. */
  readonly element: "float16" | "float32" | "float64" | "int8" | "int32" | `unknown-${number}`;
  /** The default shape. Empty where none is declared. */
  readonly shape: readonly number[];
  /** Undefined: `shape` is the only one. */
  readonly flexibility?:
    | { readonly kind: "enumerated"; readonly shapes: readonly (readonly number[])[] }
    /** Both ends included; `upper` undefined: no end. */
    | {
        readonly kind: "range";
        readonly ranges: readonly { readonly lower: number; readonly upper: number | undefined }[];
      }
    | undefined;
}

/** The base class of models. Training, evaluation, checkpoints and reports work with any image classifier that extends it. */
import type { ImageFormat } from '../data/dataset.js';
import { type Mode, Module } from '../nn/module.js';
import type { NormalisedImages } from '../nn/whiten.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** The size of a model's images, and its number of classes. */
export type ModelImages = Pick<ImageFormat, 'channels' | 'height' | 'width'> & { readonly classes: number };

/** A row of a model's summary: one part of the model. */
export interface SummaryRow {
  readonly name: string;
  /** The shape of its output, such as `(B, 65, 192)`; B is the batch size. */
  readonly shape: string;
  readonly parameters: readonly Parameter[];
}

/** Initial values of a parameter that depend on training images. */
export interface ImageInit {
  readonly parameter: Parameter;
  /** The number of images; fewer are given if there are not so many. */
  readonly count: number;
  /** Changes the parameter's drawn values in place. */
  amend(values: Float32Array, images: NormalisedImages): void;
}

/** An image classifier. `docs/library.md` shows how to write one. */
export abstract class Model extends Module {
  /** Channels, height, width, and number of classes. */
  abstract readonly images: ModelImages;
  /** All sizes of the model, with defaults filled in. config.json and checkpoints record it. */
  abstract readonly config: Readonly<Record<string, unknown>>;
  /** A short name for tables, such as `192/12/3 p4 mlp 4 cls`. */
  abstract readonly label: string;

  /** Logits (B, classes) of images (B, C, H, W) in f32. `mode` is evaluation if absent. */
  abstract forward(images: Tensor, mode?: Mode): Tensor;
  /** Floating-point operations of the forward pass of one image. A multiply-add counts as two. */
  abstract flops(): number;
  /** One line with the kind and sizes of the model, for reports and summaries. */
  abstract describe(): string;
  /** The rows of `summary`. */
  protected abstract rows(): readonly SummaryRow[];

  /**
   * The parameters of the classifier, the weight first: its first axis is the number of classes. --init does not load them
   * if the number of classes differs.
   */
  abstract classifier(): readonly Parameter[];

  /**
   * The parameters by layer, from the input to the classifier, for layer-wise learning rates (`--layer-decay`). Null if the
   * model does not support them.
   */
  layers(): readonly (readonly Parameter[])[] | null {
    return null;
  }

  /**
   * The values that a parameter of this model takes over from one of another size in the model `from`, such as positions on
   * another grid of patches; null if it keeps its initial values. Models that the phases of a run may resize override it.
   */
  resampled(name: string, _values: Float32Array, from: Model): Float32Array | null {
    throw new Error(`${name} of ${from.label} does not fit ${this.label}.`);
  }

  /**
   * Initial values that are computed from training images; null if none are. `setup` computes them for a new run. Weights
   * that are loaded replace them.
   */
  fromImages(): ImageInit | null {
    return null;
  }

  /** The number of parameters, trained and fixed. */
  numParams(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** A table of the model's parts, with their output shapes and numbers of parameters. */
  summary(): string {
    const table = this.rows()
      .filter(({ parameters }) => parameters.length > 0)
      .map(({ name, shape, parameters }) => {
        const size = parameters.reduce((sum, parameter) => sum + parameter.size, 0);
        return `  ${name.padEnd(18)}${shape.padEnd(22)}${count(size).padStart(10)}`;
      });
    const { channels, height, width, classes } = this.images;
    return [
      `${this.describe()}; images ${channels} x ${height} x ${width}, ${classes} classes`,
      ...table,
      `  ${count(this.numParams())} parameters, ${(this.flops() / 1e6).toFixed(1)} MFLOP an image forward`,
    ].join('\n');
  }
}

const count = (n: number): string => n.toLocaleString('en-US');

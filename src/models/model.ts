/** What a trainer, an evaluation, a checkpoint and a report need of a model: an image classifier of any kind. */
import type { ImageFormat } from '../data/dataset.js';
import { type Mode, Module } from '../nn/module.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** The images that a model takes, and the classes it tells apart. */
export type ModelImages = Pick<ImageFormat, 'channels' | 'height' | 'width'> & { readonly classes: number };

/** A part of a model as a row of its summary. */
export interface SummaryRow {
  readonly name: string;
  /** The shape of its output, with B for the batch. */
  readonly shape: string;
  readonly parameters: readonly Parameter[];
}

export abstract class Model extends Module {
  /** Channels, height, width, and the number of classes. */
  abstract readonly images: ModelImages;
  /** Every size, resolved: recorded in config.json and in checkpoints. */
  abstract readonly config: Readonly<Record<string, unknown>>;
  /** A short name for tables, such as `192/12/3 p4 mlp 4 cls`. */
  abstract readonly label: string;

  /** Logits (B, classes) of images (B, C, H, W) of f32. */
  abstract forward(images: Tensor, mode?: Mode): Tensor;
  /** Floating-point operations of one image's forward pass, a multiply-add being two. */
  abstract flops(): number;
  /** Kind and sizes in a line, for reports and summaries. */
  abstract describe(): string;
  /** The parts, for `summary`. */
  protected abstract rows(): readonly SummaryRow[];

  /** The weight and bias of the last layer: --init starts them anew where the number of classes differs. */
  abstract classifier(): readonly Parameter[];

  /**
   * The parameters by layer, from the input to the classifier, for layer-wise learning rates (`--layer-decay`). Null for
   * a model that names no layers.
   */
  layers(): readonly (readonly Parameter[])[] | null {
    return null;
  }

  /** The number of trained and fixed parameters. */
  numParams(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** A table of the parts with their output shapes and parameters, for people. */
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

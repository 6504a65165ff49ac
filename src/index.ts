/**
 * Patchlight as a library: a tensor engine on WebGPU, a tape, models on it, and their training. It needs nothing of Node and runs
 * in pages and Deno, too.
 */
export { checkpoint } from './autograd/checkpoint.js';
export type { Op } from './autograd/op.js';
export { apply, defineOp } from './autograd/op.js';
export { Tape } from './autograd/tape.js';
export * from './core/errors.js';
export { choice, count, flag, number, type Row, type Rows, type SettingsOf } from './core/setting.js';
export type { Shape } from './core/shape.js';
export type { Dataset, DatasetDescription, ImageFormat, Split } from './data/dataset.js';
export { describeDataset, shapes10 } from './data/named.js';
export { type ListedAdapter, listAdapters } from './gpu/adapters.js';
export type { AdapterInfo, OpenOptions } from './gpu/device.js';
export { Gpu } from './gpu/gpu.js';
export type { GrantedAdapter, Host, HostAdapter } from './gpu/host.js';
export { defineKernel } from './gpu/pipeline.js';
export { type Learned, type Look, learned, look } from './inspect/look.js';
export { decodeSafetensors, encodeSafetensors } from './io/safetensors.js';
export { Model, type ModelImages, type SummaryRow } from './models/model.js';
export { type ModelKind, registerModel } from './models/registry.js';
export { VisionTransformer } from './models/vit.js';
export type { VitConfig, VitOptions } from './models/vit_config.js';
export { type LayerInit, schemes } from './nn/init.js';
export { LayerNorm, Linear } from './nn/layers.js';
export { type Mode, Module, partsOf } from './nn/module.js';
export * from './ops/index.js';
export { AdamW, type AdamWOptions, adamwDefaults } from './optim/adamw.js';
export { type HiddenMatrix, hiddenFirst, Muon, type MuonOptions, muonDefaults } from './optim/muon.js';
export type { Optimizer } from './optim/optimizer.js';
export { learningRate, type Schedule } from './optim/schedule.js';
export { buildModel } from './recipe/model.js';
export { presets } from './recipe/presets.js';
export { resolveSettings, type Settings } from './recipe/settings.js';
export { Arena } from './tensor/arena.js';
export { Parameter, type Role } from './tensor/parameter.js';
export { keep, scope } from './tensor/scope.js';
export { Tensor } from './tensor/tensor.js';
export { type Evaluation, evaluate } from './training/evaluate.js';
export { type FitOptions, fit, type Outcome, snapshotOf } from './training/fit.js';
export { demandStepMemory, largestBatchSize, type StepMemory, stepMemory } from './training/forecast.js';
export { type Classifier, classify, likeliest, type Prediction } from './training/predict.js';
export type { EpochEntry, Progress, StepEntry } from './training/progress.js';
export { setup, type Training } from './training/setup.js';
export type { Sink, Snapshot } from './training/sink.js';
export { encodeState, encodeWeights, progressIn, restoreState, runMetadata } from './training/state.js';
export { TrainingStep } from './training/step.js';

/**
 * Patchlight as a library: a tensor engine on WebGPU, a tape, models on it, and their training. It needs nothing of Node and runs
 * in pages and Deno, too. `patchlight/node` has all of it, and what needs files.
 *
 * @module patchlight
 */
export { checkpoint } from './autograd/checkpoint.js';
export type { ByName, InputName, Inputs } from './autograd/inputs.js';
export type {
  AnyOp,
  AnySample,
  BackwardCall,
  ForwardResult,
  Op,
  Refusal,
  Sample,
  SampleInput,
  Saved,
  Target,
} from './autograd/op.js';
export { apply, defineOp } from './autograd/op.js';
export { type Recomputation, Tape, type TapeRecord } from './autograd/tape.js';
export { type CheckOptions, checkOp, type OpFinding } from './check/op.js';
export type { Finding } from './check/ops.js';
export * from './core/errors.js';
export { Counter } from './core/rng.js';
export {
  choice,
  count,
  flag,
  number,
  type Row,
  type Rows,
  type SettingsOf,
  type SettingValue,
} from './core/setting.js';
export type { Shape } from './core/shape.js';
export type { Dataset, DatasetDescription, ImageFormat, Split } from './data/dataset.js';
export { describeDataset, shapes10 } from './data/named.js';
export { mirrored, type Normalize, releaseStore, uploadSplit } from './data/store.js';
export { type ListedAdapter, listAdapters } from './gpu/adapters.js';
export type { Recording } from './gpu/commands.js';
export type { AdapterInfo, OpenOptions, SubgroupMatrixConfig } from './gpu/device.js';
export type { Workgroups } from './gpu/dispatch.js';
export { Gpu } from './gpu/gpu.js';
export type { GrantedAdapter, Host, HostAdapter } from './gpu/host.js';
export { defineKernel, type Kernel, type Specialisation, type Specialised } from './gpu/pipeline.js';
export type { BufferPool, FreeList, PoolBuffer, Region } from './gpu/pool.js';
export type { Operand } from './gpu/textures.js';
export { type Learned, type Look, learned, look } from './inspect/look.js';
export type { SplitName } from './io/cifar.js';
export {
  asFloat32,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type Safetensors,
  type TensorData,
  type TensorInfo,
} from './io/safetensors.js';
export { type ImageInit, Model, type ModelImages, type SummaryRow } from './models/model.js';
export { type ModelKind, registerModel } from './models/registry.js';
export { VisionTransformer } from './models/vit.js';
export type { VitConfig, VitOptions } from './models/vit_config.js';
export type { DropPathMode } from './nn/dropout.js';
export { type LayerInit, type Scheme, schemes } from './nn/init.js';
export { LayerNorm, Linear } from './nn/layers.js';
export { type Mode, type ModelPart, Module, partsOf } from './nn/module.js';
export type { ImageStore } from './ops/batch.js';
export * from './ops/index.js';
export { AdamW, type AdamWOptions, type AdamWRange, adamwDefaults } from './optim/adamw.js';
export type { Ema } from './optim/ema.js';
export type { LossScale } from './optim/loss_scale.js';
export { type HiddenMatrix, hiddenFirst, Muon, type MuonOptions, muonDefaults } from './optim/muon.js';
export type { Optimizer, RateScale, StateName } from './optim/optimizer.js';
export { learningRate, type Schedule } from './optim/schedule.js';
export { Updates } from './optim/updates.js';
export { buildModel } from './recipe/model.js';
export { type Preset, presets } from './recipe/presets.js';
export { resolveSettings, type Settings } from './recipe/settings.js';
export { Arena, type Layout, type ParameterPiece, type Part, type Slot } from './tensor/arena.js';
export { type Init, Parameter, type Role } from './tensor/parameter.js';
export { keep, type Releasable, scope } from './tensor/scope.js';
export { type DType, type HostArray, Tensor } from './tensor/tensor.js';
export { type ClassResult, type Evaluation, type EvaluationInput, evaluate } from './training/evaluate.js';
export { type FitOptions, fit, type Outcome, snapshotOf } from './training/fit.js';
export { demandStepMemory, largestBatchSize, type StepMemory, stepMemory } from './training/forecast.js';
export type { Limit, Plan, PlannedPhase } from './training/plan.js';
export { type Classifier, classify, likeliest, type Prediction } from './training/predict.js';
export type { EpochEntry, Progress, RunLength, StepEntry, WeightsKind } from './training/progress.js';
export type { ReliabilityBin, Score } from './training/score.js';
export { setup, type Training } from './training/setup.js';
export type { EpochReport, RunFacts, SaveOptions, Sink, Snapshot, StepReport } from './training/sink.js';
export { encodeState, encodeWeights, progressIn, restoreState } from './training/state.js';
export { runMetadata } from './training/state_format.js';
export { type StepInput, type StepParts, TrainingStep } from './training/step.js';
export type { LoadWeights } from './training/trainable.js';

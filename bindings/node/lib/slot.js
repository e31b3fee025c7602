// Replacing a model while it is in use.

import { checkAsync } from "./calls.js";
import { Owner, own } from "./handle.js";
import { Model } from "./model.js";
import { check, made, native } from "./native.js";

export class Slot extends Owner {
  static kind = "slot";
  static free = "slot_free";

  static of(model) {
    return Model.use(model, (pointer) => own(Slot, made("slot_new", pointer)));
  }

  get model() {
    return Slot.use(this, (pointer) => own(Model, made("slot_model", pointer)));
  }
  get generation() {
    return Slot.use(this, (pointer) => Number(native.slot_generation(pointer)));
  }

  async publish(model) {
    const generation = [0];
    await Slot.useAsync(this, (pointer) =>
      Model.useAsync(model, (candidate) => checkAsync("slot_publish", [pointer, candidate, generation])),
    );
    return Number(generation[0]);
  }

  rollBack() {
    const generation = [0];
    Slot.use(this, (pointer) => check("slot_roll_back", pointer, generation));
    return Number(generation[0]);
  }

  forgetPrevious() {
    Slot.use(this, (pointer) => native.slot_forget_previous(pointer));
  }
}

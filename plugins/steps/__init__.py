"""The built-in processor steps, under our names and under those of LeRobot's processor files."""

from rl.api import StepSpec, hookimpl

RL_API = 1


@hookimpl
def rl_processor_steps():
    return [
        StepSpec(
            name="rename",
            summary="Features under the names that the policy knows",
            target="rl.process.names:Rename",
            config="rl.process.options:RenameOptions",
            aliases=("rename_observations_processor",),
        ),
        StepSpec(
            name="batch",
            summary="Keeps the place of LeRobot's batch step; samples always have their batch axis",
            target="rl.process.names:Batch",
            config="rl.process.options:BatchOptions",
            aliases=("to_batch_processor",),
        ),
        StepSpec(
            name="device",
            summary="Keeps the place of LeRobot's device step; whoever owns the device moves arrays",
            target="rl.process.names:Device",
            config="rl.process.options:DeviceOptions",
            aliases=("device_processor",),
        ),
        StepSpec(
            name="normalise",
            summary="Scaling by the statistics of the data set",
            target="rl.process.normalise:NormaliseStep",
            config="rl.process.options:NormaliseOptions",
            aliases=("normalizer_processor",),
        ),
        StepSpec(
            name="unnormalise",
            summary="The way back to robot units, by the statistics of the data set",
            target="rl.process.normalise:UnnormaliseStep",
            config="rl.process.options:NormaliseOptions",
            aliases=("unnormalizer_processor",),
        ),
    ]

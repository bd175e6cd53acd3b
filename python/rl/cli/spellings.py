"""LeRobot's spellings that the commands for robots share."""

from rl.config.command_line import Alias, Note

RETRIES = Note("lost replies are asked again within the cycle, as often as it has time")
GAINS = Note("the servos' gains are those of the core's register table")
VIEWER = Note("there is no viewer in this version; --trace FILE keeps every cycle")
NOWHERE = Note("nothing leaves this machine; accepted and ignored")
ENCODING = Note("pictures are encoded while they are recorded; options are those of the format")

MOVING: dict[str, Alias] = {
    "robot.disable_torque_on_disconnect": Note("the robot always ends by its stop policy: see --stop"),
    "robot.max_relative_target": Note(
        "limits of position, speed and acceleration are always on: see --robot.max_speed"
    ),
    "robot.position_p_coefficient": GAINS,
    "robot.position_i_coefficient": GAINS,
    "robot.position_d_coefficient": GAINS,
    "robot.num_read_retries": RETRIES,
    "teleop.num_read_retries": RETRIES,
    "display_data": VIEWER,
    "display_mode": VIEWER,
    "display_ip": VIEWER,
    "display_port": VIEWER,
    "display_compressed_images": VIEWER,
    "play_sounds": Note("there are no sounds in this version"),
}
RECORDING: dict[str, Alias] = MOVING | {
    "single_task": "task",
    "dataset.single_task": "task",
    "dataset.num_episodes": "episodes",
    "num_episodes": "episodes",
    "dataset.episode_time_s": "episode_time",
    "dataset.reset_time_s": "reset_time",
    "dataset.fps": "fps",
    "dataset.video": Note("pictures are always kept as video"),
    "dataset.push_to_hub": NOWHERE,
    "dataset.private": NOWHERE,
    "dataset.tags": NOWHERE,
    "dataset.no_stamp": Note("names are used as they are given; nothing is appended"),
    **dict.fromkeys(
        (
            "dataset.num_image_writer_processes",
            "dataset.num_image_writer_threads_per_camera",
            "dataset.video_encoding_batch_size",
            "dataset.streaming_encoding",
            "dataset.encoder_queue_maxsize",
            "dataset.encoder_threads",
            "dataset.rgb_encoder.vcodec",
            "dataset.rgb_encoder.crf",
            "dataset.rgb_encoder.g",
            "dataset.vcodec",
        ),
        ENCODING,
    ),
}

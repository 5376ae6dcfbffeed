package events;

import org.apache.flink.api.common.eventtime.TimestampAssigner;
import org.apache.flink.api.common.eventtime.TimestampAssignerSupplier;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;

/**
 * The newest event of each partition, minus a delay; the slowest partition decides.
 *
 * <p>A partition is idle if it was silent while the others had messages at {@link #IDLE_TICKS}
 * ticks. Flink's own idle timeout measures time, so that on a busy machine, or after an outage of
 * the broker, a partition that has unread messages counts as idle, and its events become late.
 */
final class PartitionWatermarks implements WatermarkStrategy<Message> {
    /** Half a minute of traffic: Flink ticks every 200 ms. */
    private static final int IDLE_TICKS = 150;

    private final long delayMillis;
    /** Events of all partitions of this reader; each reader has its own copy of this object. */
    private transient long events;

    PartitionWatermarks(long delaySeconds) {
        this.delayMillis = delaySeconds * 1_000;
    }

    @Override
    public TimestampAssigner<Message> createTimestampAssigner(
            TimestampAssignerSupplier.Context context) {
        return (message, sent) -> Math.floorDiv(message.micros, 1_000);
    }

    @Override
    public WatermarkGenerator<Message> createWatermarkGenerator(
            WatermarkGeneratorSupplier.Context context) {
        return new Partition();
    }

    private final class Partition implements WatermarkGenerator<Message> {
        private long newest = Long.MIN_VALUE;
        private long eventsAtTick = events;
        private int silentTicks;

        @Override
        public void onEvent(Message message, long millis, WatermarkOutput output) {
            if (message.reason == null) {
                events++;
                newest = Math.max(newest, millis);
                silentTicks = -1;
            }
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput output) {
            if (silentTicks < 0 || events > eventsAtTick) {
                silentTicks++;
            }
            eventsAtTick = events;
            if (silentTicks >= IDLE_TICKS) {
                output.markIdle();
            } else if (newest > Long.MIN_VALUE) {
                output.emitWatermark(new Watermark(newest - delayMillis - 1));
            }
        }
    }
}

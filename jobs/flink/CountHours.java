package events;

import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.util.Collector;

/**
 * Counts the distinct events of a customer, type and hour, and emits the count when the watermark
 * passes the end of the hour.
 *
 * <p>Flink's windows drop late events in silence, and after a restart an operator before them
 * cannot tell which: it starts without a watermark, they do not. So one operator decides both, by a
 * time that is part of its checkpoints.
 */
final class CountHours
        extends KeyedProcessFunction<Tuple3<String, String, Long>, Message, RowData>
        implements CheckpointedFunction {
    static final long HOUR = 3_600_000;

    private transient MapState<Tuple2<String, Long>, Boolean> seen;
    private transient ListState<Long> closedState;
    private transient ListState<Long> rowsState;
    private final LongCounter rows = new LongCounter();
    private final LongCounter duplicates = new LongCounter();
    private final LongCounter late = new LongCounter();
    /** Hours that end before this time may have been emitted. */
    private long closed = Long.MIN_VALUE;

    @Override
    public void initializeState(FunctionInitializationContext context) throws Exception {
        seen =
                context.getKeyedStateStore()
                        .getMapState(
                                new MapStateDescriptor<>(
                                        "seen",
                                        Types.TUPLE(Types.STRING, Types.LONG),
                                        Types.BOOLEAN));
        // A union: with another parallelism the hours of all subtasks are spread again.
        closedState =
                context.getOperatorStateStore()
                        .getUnionListState(new ListStateDescriptor<>("closed", Types.LONG));
        rowsState =
                context.getOperatorStateStore()
                        .getListState(new ListStateDescriptor<>("rows", Types.LONG));
        for (long time : closedState.get()) {
            closed = Math.max(closed, time);
        }
        for (long number : rowsState.get()) {
            rows.add(number);
        }
        getRuntimeContext().addAccumulator("state_rows", rows);
        getRuntimeContext().addAccumulator("duplicates", duplicates);
        getRuntimeContext().addAccumulator("late", late);
    }

    @Override
    public void processElement(Message message, Context context, Collector<RowData> out)
            throws Exception {
        long end = context.getCurrentKey().f2 + HOUR - 1;
        closed = Math.max(closed, context.timerService().currentWatermark());
        if (end <= closed && seen.isEmpty()) {
            late.add(1);
            context.output(HourlyCounts.UNCOUNTED, Message.refused(message, "late"));
            return;
        }
        Tuple2<String, Long> event = Tuple2.of(message.transactionId, message.micros);
        if (seen.contains(event)) {
            duplicates.add(1);
            return;
        }
        seen.put(event, true);
        rows.add(1);
        context.timerService().registerEventTimeTimer(end);
    }

    @Override
    public void onTimer(long end, OnTimerContext context, Collector<RowData> out) throws Exception {
        long count = 0;
        for (Tuple2<String, Long> event : seen.keys()) {
            count++;
        }
        seen.clear();
        rows.add(-count);
        closed = Math.max(closed, end);
        Tuple3<String, String, Long> key = context.getCurrentKey();
        out.collect(
                GenericRowData.of(
                        StringData.fromString(key.f0),
                        StringData.fromString(key.f1),
                        TimestampData.fromEpochMillis(key.f2),
                        count,
                        0L));
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws Exception {
        closedState.update(java.util.List.of(closed));
        rowsState.update(java.util.List.of(rows.getLocalValue()));
    }
}

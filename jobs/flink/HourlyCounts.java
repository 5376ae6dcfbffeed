package events;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.runtime.typeutils.InternalTypeInfo;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.flink.CatalogLoader;
import org.apache.iceberg.flink.FlinkSchemaUtil;
import org.apache.iceberg.flink.TableLoader;
import org.apache.iceberg.flink.sink.FlinkSink;

/**
 * The job: a topic to the counts of closed hours, and to a table of the messages it did not count.
 *
 * <p>Options are NAME=VALUE: topic, watermark-seconds, ahead-seconds, counts and uncounted (names
 * of tables), and with the prefixes flink., kafka. and catalog. those of Flink, of the Kafka
 * consumer and of the Iceberg catalog (catalog.name, catalog.impl).
 */
public final class HourlyCounts {
    static final OutputTag<Message> UNCOUNTED =
            new OutputTag<>("uncounted", TypeInformation.of(Message.class));

    private HourlyCounts() {}

    public static void main(String[] arguments) throws Exception {
        start(
                Arrays.stream(arguments)
                        .map(argument -> argument.split("=", 2))
                        .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1])));
    }

    public static JobClient start(Map<String, String> options) throws Exception {
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.getExecutionEnvironment(
                        Configuration.fromMap(part(options, "flink.")));
        Properties kafka = new Properties();
        kafka.putAll(part(options, "kafka."));
        KafkaSource<Message> source =
                KafkaSource.<Message>builder()
                        .setTopics(options.get("topic"))
                        .setProperties(kafka)
                        .setStartingOffsets(new FromBeginning())
                        .setDeserializer(
                                new EventParser(Long.parseLong(options.get("ahead-seconds"))))
                        .build();
        long delaySeconds = Long.parseLong(options.get("watermark-seconds"));
        // One reader, so that it sees which partitions are idle while others have messages.
        SingleOutputStreamOperator<Message> events =
                environment
                        .fromSource(source, new PartitionWatermarks(delaySeconds), "kafka")
                        .uid("kafka")
                        .setParallelism(1)
                        .process(new Valid())
                        .uid("valid")
                        .setParallelism(1);
        SingleOutputStreamOperator<RowData> counts =
                events.keyBy(
                                event ->
                                        Tuple3.of(
                                                event.customerId,
                                                event.eventType,
                                                Math.floorDiv(event.micros, CountHours.HOUR * 1_000)
                                                        * CountHours.HOUR),
                                Types.TUPLE(Types.STRING, Types.STRING, Types.LONG))
                        .process(new CountHours())
                        .uid("count");
        DataStream<Message> uncounted =
                events.getSideOutput(UNCOUNTED).union(counts.getSideOutput(UNCOUNTED));
        CatalogLoader catalog = catalog(part(options, "catalog."));
        append(counts, catalog, options.get("counts"));
        append(uncounted.map(HourlyCounts::row), catalog, options.get("uncounted"));
        return environment.executeAsync("events hourly counts");
    }

    private static CatalogLoader catalog(Map<String, String> properties) {
        return CatalogLoader.custom(
                properties.get("name"),
                properties,
                new org.apache.hadoop.conf.Configuration(),
                properties.get("impl"));
    }

    private static void append(
            SingleOutputStreamOperator<RowData> rows, CatalogLoader catalog, String name)
            throws Exception {
        try (TableLoader loader = TableLoader.fromCatalog(catalog, TableIdentifier.parse(name))) {
            loader.open();
            Table table = loader.loadTable();
            FlinkSink.forRowData(
                            rows.returns(
                                    InternalTypeInfo.of(FlinkSchemaUtil.convert(table.schema()))))
                    .table(table)
                    .tableLoader(TableLoader.fromCatalog(catalog, TableIdentifier.parse(name)))
                    .uidPrefix(name)
                    .append();
        }
    }

    private static RowData row(Message message) {
        boolean isEvent = message.value == null && message.customerId != null;
        long micros = message.micros;
        return GenericRowData.of(
                StringData.fromString(message.reason),
                isEvent ? StringData.fromString(message.customerId) : null,
                isEvent ? StringData.fromString(message.eventType) : null,
                isEvent ? StringData.fromString(message.transactionId) : null,
                isEvent
                        ? TimestampData.fromEpochMillis(
                                Math.floorDiv(micros, 1_000),
                                (int) Math.floorMod(micros, 1_000L) * 1_000)
                        : null,
                message.value,
                message.partition,
                message.offset);
    }

    private static Map<String, String> part(Map<String, String> options, String prefix) {
        Map<String, String> part = new HashMap<>();
        options.forEach(
                (name, value) -> {
                    if (name.startsWith(prefix)) {
                        part.put(name.substring(prefix.length()), value);
                    }
                });
        return part;
    }

    /** Passes valid events on. */
    private static final class Valid extends ProcessFunction<Message, Message> {
        private final LongCounter read = new LongCounter();
        private final LongCounter rejected = new LongCounter();
        private final LongCounter ahead = new LongCounter();

        @Override
        public void open(OpenContext context) {
            getRuntimeContext().addAccumulator("read", read);
            getRuntimeContext().addAccumulator("rejected", rejected);
            getRuntimeContext().addAccumulator("ahead", ahead);
        }

        @Override
        public void processElement(Message message, Context context, Collector<Message> out) {
            read.add(1);
            if (message.reason == null) {
                out.collect(message);
            } else {
                (message.reason.equals("ahead") ? ahead : rejected).add(1);
                context.output(UNCOUNTED, message);
            }
        }
    }
}

package events;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.util.Collector;

/**
 * Reads the messages that the service itself writes.
 *
 * <p>Whatever it accepts, the service's own parser reads as the same event. It refuses more than
 * that parser: CloudEvents, invisible characters anywhere, and rarer spellings of a time.
 */
final class EventParser implements KafkaRecordDeserializationSchema<Message> {
    private static final long MICROS = 1_000_000;
    /** RFC 3339 with one space for the T, a space before the offset, and the names of UTC. */
    private static final Pattern TIME =
            Pattern.compile(
                    "([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?!24)[0-9]{2}:[0-9]{2}:[0-9]{2})"
                            + "(?:\\.([0-9]{1,100}))? ?(?:z|Z|UTC|GMT|([+-][0-9]{2})(?::?([0-5][0-9]))?)");
    private static final Pattern NOT_IN_IDS =
            Pattern.compile("[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Cn}]|^[\\s\\p{Z}]|[\\s\\p{Z}]$");
    private static final LocalDateTime FIRST = LocalDateTime.of(1, 1, 1, 0, 0);
    private static final LocalDateTime END = LocalDateTime.of(10_000, 1, 1, 0, 0);
    private static final JsonFactory JSON =
            new JsonFactory().enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);

    private final long aheadMicros;

    /** Events further ahead of their message's time are refused: they would move the watermark. */
    EventParser(long aheadSeconds) {
        this.aheadMicros = aheadSeconds * MICROS;
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Message> out) {
        Message message = new Message();
        message.partition = record.partition();
        message.offset = record.offset();
        try {
            if (record.headers().lastHeader("ce_specversion") != null) {
                throw new IllegalArgumentException("is a CloudEvent, which the stream cannot read");
            }
            read(record.value(), message);
            if (message.micros > record.timestamp() * 1_000 + aheadMicros) {
                message.reason = "ahead";
            }
        } catch (IllegalArgumentException refusal) {
            message.reason = refusal.getMessage();
            message.value = record.value();
        }
        out.collect(message);
    }

    private static void read(byte[] value, Message message) {
        Map<String, String> fields = fieldsOf(value);
        String timestamp = fields.get("timestamp");
        message.customerId = id(fields, "customer_id");
        message.eventType = id(fields, "event_type");
        message.transactionId = id(fields, "transaction_id");
        if (fields.size() != 4 || timestamp == null) {
            throw new IllegalArgumentException("does not have exactly the four fields of an event");
        }
        long marks = message.eventType.chars().filter(c -> c == '%' || c == '-').count();
        if (bytes(message.customerId) > 2_048
                || bytes(message.eventType) + 2 * marks + bytes(message.transactionId) > 1_024 - 29) {
            throw new IllegalArgumentException("has an id that is too long");
        }
        message.micros = microsOf(timestamp);
    }

    /** The fields of a JSON object in valid UTF-8 whose values are strings. */
    private static Map<String, String> fieldsOf(byte[] value) {
        if (value == null) {
            throw new IllegalArgumentException("has no value (a tombstone)");
        }
        Map<String, String> fields = new HashMap<>();
        try {
            String text =
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value)).toString();
            try (JsonParser json = JSON.createParser(text)) {
                expect(json.nextToken() == JsonToken.START_OBJECT);
                while (json.nextToken() == JsonToken.FIELD_NAME) {
                    expect(json.nextToken() == JsonToken.VALUE_STRING);
                    fields.put(json.currentName(), json.getText());
                }
                expect(json.nextToken() == null);
            }
        } catch (CharacterCodingException exc) {
            throw new IllegalArgumentException("is not valid UTF-8", exc);
        } catch (JsonProcessingException exc) {
            throw new IllegalArgumentException("is not valid JSON", exc);
        } catch (IOException exc) {
            throw new IllegalArgumentException("cannot be read", exc);
        }
        return fields;
    }

    private static void expect(boolean holds) {
        if (!holds) {
            throw new IllegalArgumentException("is not a JSON object of strings");
        }
    }

    private static String id(Map<String, String> fields, String name) {
        String text = fields.get(name);
        if (text == null || text.isEmpty() || NOT_IN_IDS.matcher(text).find()) {
            throw new IllegalArgumentException(name + " is missing or invalid");
        }
        return text;
    }

    private static int bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }

    /** Microseconds since 1970; further digits are cut off. */
    private static long microsOf(String text) {
        Matcher match = TIME.matcher(text);
        if (text.length() > 128 || !match.matches()) {
            throw new IllegalArgumentException("timestamp is missing or invalid");
        }
        try {
            long offset = 0;
            if (match.group(4) != null) {
                int hours = Integer.parseInt(match.group(4).substring(1));
                int minutes = match.group(5) == null ? 0 : Integer.parseInt(match.group(5));
                offset = (match.group(4).charAt(0) == '-' ? -60 : 60) * (hours * 60L + minutes);
                expect(hours < 24);
            }
            LocalDateTime local = LocalDateTime.parse(match.group(1) + "T" + match.group(2));
            LocalDateTime at = local.minusSeconds(offset);
            expect(local.getYear() > 0 && !at.isBefore(FIRST) && at.isBefore(END));
            String digits = match.group(3) == null ? "" : match.group(3);
            return at.toEpochSecond(ZoneOffset.UTC) * MICROS
                    + Integer.parseInt((digits + "000000").substring(0, 6));
        } catch (DateTimeException | IllegalArgumentException exc) {
            throw new IllegalArgumentException("timestamp is missing or invalid", exc);
        }
    }

    @Override
    public TypeInformation<Message> getProducedType() {
        return TypeInformation.of(Message.class);
    }
}

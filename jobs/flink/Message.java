package events;

/** A message of the topic: a valid event, or the reason why it is not counted. */
public class Message {
    public int partition;
    public long offset;
    public String customerId;
    public String eventType;
    public String transactionId;
    /** Time of the event in microseconds since 1970, UTC. */
    public long micros;
    /** Null for a valid event. */
    public String reason;
    /** As received; only for a message that could not be read. */
    public byte[] value;

    static Message refused(Message message, String reason) {
        message.reason = reason;
        return message;
    }
}

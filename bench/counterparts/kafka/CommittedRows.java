import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints the committed records of a topic, from its beginning: of each value the part before the first space. After a
 * line on standard input it reads to the end of what is written by then, committed or not, and prints "complete". If a
 * transaction that stays open keeps it from a partition's end, it first prints "open" and the partition.
 */
public final class CommittedRows {
    /** Longer than brokers take to abort a transaction that its publisher has left. */
    private static final Duration END_LIMIT = Duration.ofSeconds(60);

    private static volatile boolean isAsked;

    public static void main(String[] arguments) throws Exception {
        PrintStream output = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
        try (KafkaConsumer<byte[], byte[]> committed = consumer(arguments[0], "read_committed");
                KafkaConsumer<byte[], byte[]> all = consumer(arguments[0], "read_uncommitted")) {
            List<TopicPartition> partitions = committed.partitionsFor(arguments[1]).stream()
                    .map(info -> new TopicPartition(info.topic(), info.partition()))
                    .toList();
            committed.assign(partitions);
            committed.seekToBeginning(partitions);

            Thread asked = new Thread(CommittedRows::awaitRequest);
            asked.setDaemon(true);
            asked.start();
            while (!isAsked) {
                print(committed, output);
            }
            readTo(all.endOffsets(partitions), committed, output);
        }
        output.println("complete");
        output.flush();
    }

    /** Waits for a line. If there is none, the program that wanted the records has ended, and so does this one. */
    private static void awaitRequest() {
        try {
            if (System.in.read() < 0) {
                Runtime.getRuntime().halt(1);
            }
            isAsked = true;
        } catch (IOException failed) {
            Runtime.getRuntime().halt(1);
        }
    }

    private static void readTo(
            Map<TopicPartition, Long> ends, KafkaConsumer<byte[], byte[]> committed, PrintStream output) {
        long deadline = System.nanoTime() + END_LIMIT.toNanos();
        while (ends.entrySet().stream().anyMatch(end -> committed.position(end.getKey()) < end.getValue())) {
            long before = positions(ends, committed);
            print(committed, output);
            if (positions(ends, committed) > before) {
                deadline = System.nanoTime() + END_LIMIT.toNanos();
            }
            if (System.nanoTime() > deadline) {
                ends.forEach((partition, end) -> {
                    long position = committed.position(partition);
                    if (position < end) {
                        output.println("open " + partition + " at " + position + " of " + end);
                    }
                });
                return;
            }
        }
    }

    private static long positions(Map<TopicPartition, Long> ends, KafkaConsumer<byte[], byte[]> committed) {
        return ends.keySet().stream().mapToLong(committed::position).sum();
    }

    private static void print(KafkaConsumer<byte[], byte[]> consumer, PrintStream output) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
            byte[] value = record.value();
            int length = 0;
            while (length < value.length && value[length] != ' ') {
                length++;
            }
            output.println("row " + new String(value, 0, length, StandardCharsets.UTF_8));
        }
        output.flush();
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String brokers, String isolation) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        properties.put("isolation.level", isolation);
        properties.put("enable.auto.commit", "false");
        properties.put("check.crcs", "true");
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }
}

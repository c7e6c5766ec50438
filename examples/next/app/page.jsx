export default function Page() {
  return <p>GET /api/rerank?query=… ranks three documents.</p>;
}
